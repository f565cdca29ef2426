"""The network: sizes, tables, padding, cache, checkpointing."""

import hashlib
import json

import pytest
import torch
from ofa_tiny import tiny_network

from rivega_spacy.backends.ofa.attention import image_buckets, image_position_ids, token_buckets, write_bias
from rivega_spacy.backends.ofa.config import OFAConfig
from rivega_spacy.backends.ofa.network import OFA, Patches


def checksum(table: torch.Tensor) -> str:
    return hashlib.sha256(table.numpy().astype("<i8").tobytes()).hexdigest()


def test_ofa_large_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = OFA(OFAConfig())
    assert sum(value.numel() for value in network.parameters()) == 472_977_152
    assert sum(value.numel() for value in network.encoder.embed_images.parameters()) == 43_179_072


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["ofa_fairseq", "ofa_hf"])
@pytest.mark.slow
def test_ofa_large_has_the_published_names_and_shapes(shared_dir, layout):
    from rivega_spacy.backends.ofa.checkpoint import rename

    told = json.loads((shared_dir / "fixtures" / layout / "keys_full.json").read_text())
    with torch.device("meta"):
        own = {name: list(value.shape) for name, value in OFA(OFAConfig()).state_dict().items()}
    shapes = {}
    for name, (shape, _) in told.items():
        for new in rename({name: torch.zeros(())}, path="keys_full.json"):
            shapes[new] = shape
    assert shapes == own


def test_bucket_tables_are_those_of_the_published_code_bit_for_bit():
    # The published code takes a logarithm in single precision: another rounding would move a distance by a bucket.
    text, patches = checksum(token_buckets(256)), checksum(image_buckets(42))
    assert text.startswith("20c31e82") and text.endswith("e46c")
    assert patches.startswith("f982ef63") and patches.endswith("b756")


def test_tables_by_their_meaning():
    table = token_buckets(8, 64)
    assert table.diagonal().eq(7).all()
    assert table[5, 3] == 7 + 2 and table[3, 5] == 7 - 2, "the query's place minus the key's"
    assert table.min() >= 0 and table.max() <= 14
    assert (table[:, 0].diff() >= 0).all(), "farther is never a smaller bucket"
    patches = image_buckets(3)
    assert patches.shape == (10, 10)
    # The same offset is the same bucket wherever it is.
    assert patches[1, 2] == patches[2, 3] == patches[4, 5] == patches[8, 9]
    assert patches[1, 4] == patches[5, 8] != patches[4, 1]
    assert image_position_ids(2, 3, 42).tolist() == [1, 2, 3, 43, 44, 45]


def inputs(network: OFA, count: int = 3, size: int = 64):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.empty(count, 3, size, size + 16).normal_(generator=generator)
    tokens = torch.randint(4, network.config.bin_0, (count, 9), generator=generator)
    tokens[:, 0] = network.config.bos
    return pixels, tokens


def test_padding_changes_nothing():
    network = tiny_network()
    pixels, tokens = inputs(network)
    lengths = [9, 6, 4]
    for i, n in enumerate(lengths):
        tokens[i, n:] = network.config.pad
    with torch.inference_mode():
        picture = network.encoder.pictures(pixels)
        together = network.encode(tokens, picture)
        answer = torch.randint(4, 20, (3, 5), generator=torch.Generator().manual_seed(0))
        logits = network.logits(network.decode(answer, together)[0])
        for i, n in enumerate(lengths):
            one = Patches(picture.states[i : i + 1], picture.height, picture.width)
            alone = network.encode(tokens[i : i + 1, :n], one)
            assert together.lengths[i] == alone.states.shape[1]
            torch.testing.assert_close(together.states[i, : alone.states.shape[1]], alone.states[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(
                logits[i], network.logits(network.decode(answer[i : i + 1], alone)[0])[0], atol=1e-5, rtol=1e-5
            )


def test_both_ways_of_hiding_padding_agree():
    """By groups of equal length, and by a mask (which is what accelerators get, and hidden pictures need)."""
    network = tiny_network()
    pixels, tokens = inputs(network)
    tokens[1, 5:] = network.config.pad
    with torch.inference_mode():
        picture = network.encoder.pictures(pixels)
        grouped = network.encode(tokens, picture)
        # A picture hidden in another sample switches the whole batch to masks.
        masked = network.encode(tokens, picture, torch.tensor([True, True, False]))
    assert masked.hidden is not None and grouped.hidden is None
    kept = ~masked.hidden
    for i in (0, 1):
        torch.testing.assert_close(grouped.states[i][kept[i]], masked.states[i][kept[i]], atol=1e-5, rtol=1e-5)


def test_samples_one_after_another_equal_the_batch_at_once():
    """Without gradients a processor takes them one by one, with a bias written from windows of the table."""
    network = tiny_network().requires_grad_(False)
    pixels, tokens = inputs(network)
    tokens[1, 5:] = network.config.pad
    with torch.no_grad():
        picture = network.encoder.pictures(pixels)
        one_by_one = network.encode(tokens, picture, keep_layers=True)
        with torch.enable_grad():
            at_once = network.encode(tokens, picture, keep_layers=True)
    assert one_by_one.lengths == at_once.lengths and picture.height != picture.width
    assert len(one_by_one.layers) == len(at_once.layers) == network.config.encoder_layers + 1
    for a, b in zip([one_by_one.states, *one_by_one.layers], [at_once.states, *at_once.layers]):
        for i, length in enumerate(at_once.lengths):
            torch.testing.assert_close(a[i, :length], b[i, :length], atol=1e-5, rtol=1e-5)


def test_windows_of_the_offset_table_are_what_a_lookup_of_every_pair_gives():
    heads, height, width, size = 3, 4, 6, 5
    table = torch.arange((2 * 7 - 1) ** 2 + 3, dtype=torch.float32)[:, None] + torch.arange(heads) * 1000
    length = height * width + size
    shared = torch.arange(heads * length * length, dtype=torch.float32).view(1, heads, length, length)
    tokens = torch.full((heads, size, size), 0.5)
    bias = shared.clone()
    write_bias(bias, shared, tokens, table, height, width)
    ids = image_position_ids(height, width, 7)
    wanted = shared.clone()
    wanted[0, :, : height * width, : height * width] += table[image_buckets(7)[ids[:, None], ids]].permute(2, 0, 1)
    wanted[0, :, -size:, -size:] += tokens
    assert torch.equal(bias, wanted)


def test_a_hidden_picture_has_no_influence():
    network = tiny_network()
    pixels, tokens = inputs(network)
    shown = torch.tensor([True, False, True])
    with torch.inference_mode():
        one = network.encode(tokens, network.encoder.pictures(pixels), shown)
        two = network.encode(tokens, network.encoder.pictures(pixels * 0.5 + 0.3), shown)
    kept = ~one.hidden
    torch.testing.assert_close(one.states[1][kept[1]], two.states[1][kept[1]])
    assert (one.states[0] - two.states[0]).abs().max() > 1e-3


def test_cached_steps_equal_decoding_at_once():
    network = tiny_network()
    pixels, tokens = inputs(network)
    tokens[2, 6:] = network.config.pad
    answer = torch.randint(4, network.config.vocab_size, (3, 6), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        encoded = network.encode(tokens, network.encoder.pictures(pixels))
        at_once = network.logits(network.decode(answer, encoded)[0])
        cache = network.decoder.start(encoded)
        for step in range(answer.shape[1]):
            logits = network.step(answer[:, step], cache)
            torch.testing.assert_close(logits, at_once[:, step], atol=1e-5, rtol=1e-5)


def test_beams_share_the_encoded_memory():
    network = tiny_network()
    pixels, tokens = inputs(network, count=2)
    answer = torch.randint(4, network.config.vocab_size, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        encoded = network.encode(tokens, network.encoder.pictures(pixels))
        cache = network.decoder.start(encoded)
        for step in range(4):
            logits = network.step(answer[:, :, step].reshape(-1), cache)
        assert cache.memory[0][0].shape[0] == 2
        for beam in range(3):
            want = network.logits(network.decode(answer[:, beam], encoded)[0])[:, -1]
            torch.testing.assert_close(logits.view(2, 3, -1)[:, beam], want, atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_changes_nothing_but_memory():
    results = []
    for on in (False, True):
        network = tiny_network().train()
        network.set_rates(dropout=0.0, drop_path=0.0)
        network.set_checkpointing(on)
        pixels, tokens = inputs(network)
        loss = network(tokens, network.encoder.pictures(pixels), tokens[:, :4]).logsumexp(-1).sum()
        loss.backward()
        gradients = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        results.append((gradients, {name: value.clone() for name, value in network.named_buffers()}))
    (plain, statistics), (saved, statistics_saved) = results
    assert set(plain) == set(saved)
    for name in plain:
        torch.testing.assert_close(saved[name], plain[name], atol=1e-4, rtol=1e-3, msg=name)
    for name in statistics:
        if "num_batches" not in name:
            # A batch that is computed twice is counted once.
            torch.testing.assert_close(statistics_saved[name].float(), statistics[name].float(), atol=1e-5, rtol=1e-5, msg=name)


def test_dropped_paths_grow_with_depth_and_keep_the_mean():
    network = tiny_network(encoder_layers=3)
    network.set_rates(drop_path=0.2)
    assert [round(layer.drop_path.rate, 6) for layer in network.encoder.layers] == [0.0, 0.1, 0.2]
    path = network.encoder.layers[2].drop_path.train()
    torch.manual_seed(0)
    kept = path(torch.ones(4000, 1, 1))
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0.0, 1.25])
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(path.eval()(torch.ones(5, 1, 1)), torch.ones(5, 1, 1))
