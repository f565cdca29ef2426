"""Where every config of the project comes from: small fragments, each saying once what several configs share."""
