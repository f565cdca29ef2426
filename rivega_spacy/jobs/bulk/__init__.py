"""Jobs over very many posts: shards that appear whole, a manifest, engines that lose no post, resumed where they stopped."""
