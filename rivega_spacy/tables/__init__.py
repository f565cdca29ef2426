"""The paper's tables from one list of experiments: configs, commands, runs, and published figures beside measured ones."""
