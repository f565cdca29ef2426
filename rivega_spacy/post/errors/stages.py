"""Stages of the pipeline: tagging, knowledge, expansion, entailment, grounding, segmentation."""

from .messages import Messages


class StagesMessages(Messages):
    """Stages of the pipeline: tagging, knowledge, expansion, entailment, grounding, segmentation."""

    E067 = "Post {post} is longer than {limit} characters; entities are looked for in those alone. Cut it into several posts."
    E084 = "{name} was saved with the tag scheme {saved!r}, the config says {given!r}. Leave it as it was saved, or train the tagger anew."
    E100 = "There is no tag scheme {kind!r}. Known are: {known}."
    E101 = "There is no reduction {reduction!r} of the CRF loss. Known are: {known}."
    E102 = (
        "The posts given to initialize the tagger hold no entities, and no `labels` were given. Point `[paths] train` at "
        "annotated posts, or set `[initialize.components.rivega_ner.labels]`."
    )
    E103 = (
        "The tagger has {model} tags, its labels {labels} make {tags}. Labels cannot be added to an initialized tagger: "
        "train it again with all of them."
    )
    E104 = (
        "No encoder to start from: {name!r} is neither a folder with config.json, tokenizer.json and weights nor at hand "
        "on the model hub ({reason}). Give `--components.transformer.model.name FOLDER`."
    )
    E106 = "The encoder {name!r} has no fast tokenizer (tokenizer.json). Convert it with transformers' AutoTokenizer first."
    E107 = "max_length is {max_length}, but the special tokens and knowledge leave no room for the post. Use at least {least}."
    W108 = (
        "{count} posts are left out of training: nothing of them is annotated, or an entity has a type other than {labels}. Correct their "
        "annotation, or initialize the tagger with these types."
    )
    E305 = "Post {post}: the box {box} of {entity!r} is empty or lies beside the picture, so it has no mask. Check its coordinates."
    E306 = "The model of {name} cannot be trained. Train `rivega.SmallSegmenter.v2`, or leave {name} out of the training pipeline."
    E307 = "{name} found no entity with boxes and `mask_rle` in the training posts. Train it with `rivega.MaskCorpus.v1`."
    E332 = "{name} has a model that takes no encoder. Use `rivega.SmallSegmenter.v2`, or leave `encoder` null."
    E340 = "{component}: its model gave {found} masks for {asked} expressions. A text segmenter gives one for each."
    E341 = (
        "{component}: its model gave a mask of (height, width) {mask} for a picture of {image}. Masks must have the picture's size."
    )
    E390 = '`missing_labels` must be a list of entity types, for example ["OTHER"], not {value!r}.'
    E391 = "Post {post}: {entity!r} is annotated as {label}, which is among the post's `missing_labels`. Name only types that the corpus does not annotate."
    E392 = "`missing_labels` names {labels}, which the tagger does not know: it has {known}. A type that is not learnt at all need not be named."
    E394 = "There is no implementation {value!r} of the CRF. Known are: {known}."
    E395 = 'pytorch-crf is not installed. Run `pip install rivega_spacy[crf]`, or set `implementation = "ours"`, which has the same weights.'
    E420 = "{path} holds no annotated examples. Each line needs `tokens` or `text`, `caption_blip2` or `caption`, and `annotation`."
    E421 = "{path}, line {line}: not an annotated example ({reason})."
    E422 = (
        "The example features {path} were made with {found}, the config selects with {wanted}. Build them again: "
        "`rivega examples build`."
    )
    E423 = "The example features {path} cannot be read: {reason}. Build them again: `rivega examples build`."
    E424 = (
        "The post has neither vectors, `tensor` nor transformer output. Put the encoder before `{component}` in the pipeline, or select "
        "with `rivega.TransformersTextEncoder.v1` or `rivega.HashedTextEncoder.v1`."
    )
    E425 = "Post {post}: examples could not be selected ({reason}); the prompt goes without."
    W461 = (
        "{count} masks had not the size of their picture so far, and nothing is learnt from them. Post {post}: the mask of {entity!r} has "
        "(height, width) {mask}, its picture {image}. Convert the posts again with the pictures at hand: `rivega convert --images FOLDER`."
    )


__all__ = ["StagesMessages"]
