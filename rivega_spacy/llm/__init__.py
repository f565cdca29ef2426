"""Language models as the bridge (paper, section IV): clients behind one interface, the answer store, prompts, safety."""
