"""Stages of the pipeline: tagging, knowledge, expansion, entailment, grounding, segmentation."""

from .messages import Messages


class StagesMessages(Messages):
    """Stages of the pipeline: tagging, knowledge, expansion, entailment, grounding, segmentation."""

    E067 = "Post {post} is too long: entities are found only in its first {limit} characters. Split it into several posts."
    E084 = (
        "{name} was saved with the tag scheme {saved!r}, but the config says {given!r}. Set it back to what was saved, or "
        "train the tagger again."
    )
    E100 = "There is no tag scheme {kind!r}. Use one of: {known}."
    E101 = "There is no reduction {reduction!r} of the CRF loss. Use one of: {known}."
    E102 = (
        "The posts given to initialize the tagger have no entities, and no `labels` were given. Set `[paths] train` to "
        "annotated posts, or set `[initialize.components.rivega_ner.labels]`."
    )
    E103 = (
        "The tagger has {model} tags, but its labels {labels} need {tags}. Labels cannot be added to an initialized tagger: "
        "train it again with all of them."
    )
    E104 = (
        "There is no encoder to start from: {name!r} is neither a folder with config.json, tokenizer.json and weights nor "
        "downloaded from the model hub ({reason}). Give `--components.transformer.model.name FOLDER`; if it is a name on the hub, "
        "set RIVEGA_HUB=1 in the environment so that it may be downloaded."
    )
    E106 = "The encoder {name!r} has no fast tokenizer (tokenizer.json). Convert it with transformers' AutoTokenizer first."
    E107 = "max_length is {max_length}, but the special tokens and the knowledge leave no room for the post. Use at least {least}."
    W108 = (
        "{count} posts are left out of training: they have no annotation at all, or an entity whose type is not one of "
        "{labels}. Correct their annotation, or initialize the tagger with these types."
    )
    E305 = "Post {post}: the box {box} of {entity!r} is empty or outside the picture, so it has no mask. Check its coordinates."
    E306 = "The model of {name} cannot be trained. Train `rivega.SmallSegmenter.v2`, or leave {name} out of the training pipeline."
    E307 = "{name} found no entity with boxes and `mask_rle` in the training posts. Train it with `rivega.MaskCorpus.v1`."
    E332 = "The model of {name} has no use for an `encoder`. Use `rivega.SmallSegmenter.v2`, or leave `encoder` null."
    E340 = (
        "{component}: its model gave {found} masks for {asked} expressions. Correct the model: a text segmenter gives one mask "
        "for each expression."
    )
    E341 = (
        "{component}: its model gave a mask of (height, width) {mask} for a picture of {image}. Correct the model: masks must "
        "have the size of the picture."
    )
    E390 = '`missing_labels` must be a list of entity types, for example ["OTHER"], not {value!r}. Correct the config or the call.'
    E391 = (
        "Post {post}: {entity!r} is annotated as {label}, which is one of the post's `missing_labels`. Name only types that "
        "the corpus does not annotate."
    )
    E392 = "`missing_labels` names {labels}, but the tagger only has {known}. Leave out the types that it does not learn."
    E394 = "There is no implementation {value!r} of the CRF. Use one of: {known}."
    E395 = (
        "pytorch-crf is not installed. Run `pip install 'rivega_spacy[crf]'`, or set `implementation = \"ours\"`, which uses the "
        "same weights."
    )
    E420 = "{path} has no annotated examples. Give each line `tokens` or `text`, `caption_blip2` or `caption`, and `annotation`."
    E421 = "{path}, line {line}: not an annotated example ({reason}). Correct or remove the line."
    E422 = (
        "The example features {path} were built with {found}, but the config selects with {wanted}. Build them again: `rivega "
        "examples build`."
    )
    E423 = "The example features {path} cannot be read: {reason}. Build them again: `rivega examples build`."
    E424 = (
        "The post has no vectors, no `tensor` and no transformer output. Put the encoder before `{component}` in the pipeline, "
        "or select with `rivega.TransformersTextEncoder.v1` or `rivega.HashedTextEncoder.v1`."
    )
    E425 = "Post {post}: no examples could be selected ({reason}), so its prompt has none. Correct the cause and run again."
    W461 = (
        "So far {count} masks do not have the size of their picture, and nothing is learned from them. Post {post}: the mask "
        "of {entity!r} has (height, width) {mask}, its picture {image}. Convert the posts again together with the pictures: "
        "`rivega convert --images FOLDER`."
    )
    E882 = "The tagger's {heads} attention heads do not divide its {width} features. Set `heads` to a divisor of {width}."
    E883 = "{path} has no tagger with fusion features. Train one with configs/ner_multimodal.cfg, and name its folder."
    E884 = "{path}: line {line} is not an annotated example ({reason}). Give an id on one line and its annotation on the next."
    E885 = "{path} holds annotations without texts. Name the files with the posts: `--posts train.jsonl.gz`."
    E886 = "Example {post}: none of the files of `--posts` has a post of this id. Add the file that it comes from."
    E887 = "{path} is not a collection of passages ({reason}). Build one: `rivega index passages.jsonl {path}`."
    E888 = "{path}: {reason}. Build the collection again: `rivega index ... --restart`."
    E889 = "{path}: line {line} is left out ({reason}). Give each line a `text`."
    E901 = (
        "The listener of {listener!r} holds the encoder's output for another batch. Update the `transformer` component and those that "
        "listen to it with the same posts, one batch after the other."
    )
    E902 = (
        "The listener of {listener!r} has no output for these posts: its `transformer` component is frozen or not in the pipeline. Name it "
        "in `[training] annotating_components`."
    )
    E905 = (
        "The token classification network {name} cannot be read ({reason}). Give a folder in transformers' format with weights in "
        "safetensors, or a name on the model hub and set RIVEGA_HUB=1 in the environment so that it may be downloaded."
    )
    E962 = "`bf16` and `eight_bits` are both set, but the encoder can only use one of them. Set one to false."


__all__ = ["StagesMessages"]
