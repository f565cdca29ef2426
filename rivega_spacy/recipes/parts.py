"""Parts of the pipeline, and what each can be made of."""

# Part -> what it can be made of -> recipe. The first is the default.
PARTS: dict[str, dict[str, str]] = {
    "tagger": {
        "minilm": "ner_minilm",
        "bert": "ner_bert",
        "xlmr": "ner_xlmr",
        "bert_2015": "ner_bert_2015",
        "xlmr_2015": "ner_xlmr_2015",
        "bert_2017": "ner_bert_2017",
        "xlmr_2017": "ner_xlmr_2017",
        "modern": "ner_modern",
        "multimodal": "ner_multimodal",
        "caption": "ner_caption",
    },
    "entailment": {"itm": "entailment_itm", "ofa": "entailment_ofa", "albef": "entailment_albef"},
    "grounder": {"owlv2": "grounder_owlv2", "ofa": "grounder_ofa", "seqtr": "grounder_seqtr", "gdino": "grounder_gdino"},
    "vision": {"small": "vision_small", "more": "vision_small_more", "scratch": "vision_scratch"},
    "segmenter": {
        "small": "segmenter_small",
        "student": "segmenter_small_student",
        "more": "segmenter_small_more",
        "phrases": "segmenter_phrases",
        "clipseg": "text_segmenter_clipseg",
    },
    "pipeline": {"twitter": "rivega_twitter", "paper": "rivega_paper", "full": "rivega_full", "chat": "rivega_chat"},
    "enrich": {"openai": "enrich_openai"},
}
