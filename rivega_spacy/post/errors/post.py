"""Posts, pictures, boxes, masks, labels, files."""

from .messages import Messages


class PostMessages(Messages):
    """Posts, pictures, boxes, masks, labels, files."""

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
    E006 = "A box must be four finite numbers x1, y1, x2, y2 in pixels, not {value}. Convert it first."
    E007 = (
        "A mask must be an RLE dict {{'size': [height, width], 'counts': ...}}, not {value}. Make one with "
        "`rivega_spacy.post.rle.encode_mask`."
    )
    E010 = "Post {post}: `text` is missing or not a string. Give every post a `text`; use an empty string if there is none."
    E011 = "Post {post}: not a JSON object ({reason}). Write one JSON object per line."
    E012 = "Post {post}: the entity {value} is not [start_char, end_char, label] within a text of {length} characters. Correct it."
    E013 = (
        "Post {post}: the entity {value} does not begin and end at token boundaries. Correct its offsets: the nearest "
        "boundaries are [{start}, {end}]."
    )
    E014 = "Post {post}: the entity {value!r} overlaps another one. Keep one of them: entities of a post may not overlap."
    E015 = "Post {post}: `expansions` is {value}. Give a list of {count} strings (or nulls), one for each of `ents`."
    E016 = "Post {post}: `{field}` must be a string or null, not {kind}. Convert it first."
    E017 = "Post {post}: {component} failed on it ({reason}). Its other results stay; the log has the traceback."
    E018 = "The image root {root} is not a folder. Give the folder that the paths of the pictures are relative to."
    E020 = "The file {path} does not exist. Check the path."
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
        "The picture {source} is an address ({scheme}:), and nothing is downloaded. Download it first and give the path of the "
        "file."
    )
    E034 = "The data: URI ({head!r}, {length} characters) cannot be read ({reason}). Encode the picture again, or give its path."
    E035 = (
        "The PIL image is an opened {format} file whose pixels have not been read, and only these formats are read here: "
        "{formats}. Call `picture.load()` first if you trust the file, or convert it to PNG."
    )
    E036 = "Post {post}: the key {key!r} is not read. If it names the picture, call it `image`."
    E037 = "The picture {source} cannot be opened ({reason}). Check the path and its permissions, or leave `image` out."
    E038 = "The environment variable {name} is {value!r}. Set it to a whole number, such as 400000000."
    E050 = "{path} is an input of this command, so it cannot be its output as well. Name another output."
    E051 = "{path} is a folder. Give the name of a file."
    E052 = "{path} cannot be written ({reason}). What it held before is unchanged; free some room, or name another output."
    E053 = "{path} is a file. Give the name of a folder."
    E054 = "the compressed file ends early or is damaged at this point ({reason}); what came before was read, the rest needs an undamaged copy"
    E055 = "its line has more than {limit} characters; write one post per line"
    E056 = "it is nested more than {limit} levels deep; flatten it"
    E059 = "{path} cannot be read ({reason}). It is damaged or was written by another program: write or download it again."
    E060 = "Post {post}: {fields} is nested more than {limit} levels deep and is left out. Flatten it."
    E061 = (
        "Post {post}: {fields} contained lone surrogates (halves of characters) or bytes that are not UTF-8; each has become "
        "U+FFFD. Check how the text was cut, and its encoding."
    )
    E062 = (
        "Post {post}: the entity {value} is left out: it has only blanks, invisible or replacement characters. Correct its offsets."
    )
    E063 = "Post {post} has more than {limit} errors, and the others are left out. Fix those that are listed first."
    W069 = "The module {former} is now called {name}; its former name will be removed in version {gone}. Import it by its new name."
    E085 = "A mask must be a two-dimensional array of bool, HxW, not {kind}. To set run lengths, use `mask_rle`."
    E086 = "`{name}` is computed and cannot be set. Set {instead}."
    E087 = "`labels` gives {wrong}. Use these types: {known}."
    W088 = (
        "The entity label {label!r} is unknown and counts as OTHER. Give its type in the config of the component, for example "
        '`[components.rivega_expander.labels]` with `{label} = "PER"`.'
    )
    E089 = "{what} cannot be set up ({reason}). Fix this first: no post can be processed without it."
    E209 = "`{option}` must be at least {least}, not {value!r}. Correct the config or the call."
    E300 = "A mask must be a two-dimensional array, HxW, not one of shape {shape}. Give one mask at a time."
    E301 = "The run lengths {counts} are not COCO's text form. Write them with `rivega_spacy.post.rle.encode_mask` or pycocotools."
    E303 = (
        "The runs of the mask cover {total} pixels, but its size is {height}x{width}. Give the size and the run lengths of the "
        "same mask."
    )
    E304 = "The masks have different sizes: {sizes}. Compare or join masks of the same picture only."
    E445 = (
        "Post {post}: the field `{field}` contains entities but is not read. Write them as `ents`: [start_char, end_char, "
        "label], or convert the file first (`rivega convert`)."
    )
    E446 = "Post {post}: {text!r} is not at its offsets; it was found at [{start}, {end}]. Correct the offsets too."
    E447 = "Post {post}: `{key}` of {entity!r} must be {wanted}, not {value}, and is left out. Correct it."
    E460 = (
        "A mask of {height}x{width} has more pixels than the limit of {limit}, so it is not decoded. Use a mask of the size of "
        "its picture, or raise the limit with the environment variable RIVEGA_MAX_PIXELS."
    )
    E603 = "Post {post}: {what} of an entity must be {kind}, not {value}, and is left out. Correct it."
    E621 = "A brush stroke cannot be read: {reason}. Export it from Label Studio as JSON, which contains its run lengths."
    E622 = "{form} needs {package}, which is not installed. Run `pip install 'rivega_spacy[{extra}]'`."
    E738 = "`{option}` must be {allowed}, not {value!r}. Correct the config or the call."

    E820 = "Post number {number} of {path}: not a JSON object ({reason}). Correct this element of the array."
    E821 = "The array in {path} ends within post number {number} ({reason}). What came before was read; export the file again for the rest."
    E822 = (
        "{path} has no column `{column}`; its columns are {columns}. Rename the one that holds it, or say which it is: "
        "`--column {field}=NAME`."
    )
    E823 = "{path}, row on line {line}: {reason}. Put quotes around cells that hold delimiters or line breaks, and double those within."
    E824 = (
        "{path}, row on line {line}: the byte {byte} is not UTF-8. If the file is from Windows, convert it first: "
        "`iconv -f cp1252 -t utf-8`, or save it as CSV UTF-8."
    )
    E825 = "{path} cannot be read as Parquet {place} ({reason}). Export it again, or name its format with `--from`."
    E827 = "The folder {folder} has no pictures and no .txt files. Give the folder of the pictures, or a file of posts."
    E828 = "The picture {name} has no text. Write what was posted with it to {stem}.txt beside it, or to {stem}.json as `text`."
    E829 = "Post {name} cannot be read ({reason}). Correct the file, or export it again."
    E870 = "The config names files in the folder of a saved pipeline ({names}), and no folder was given. Load the pipeline: `spacy.load(folder)`."
    E900 = (
        "transformers {found} has no {name}, which came with version {since}. Install a newer one (docs/installed.md says how to do that "
        "beside spacy-transformers), or choose another network."
    )
    E950 = "{path} {reason}. Get the pipeline again. If you changed it on purpose, delete digests.json in the pipeline's folder."
    E951 = "{path} cannot be read ({reason}). Get the pipeline again, or delete this file to load it without the check."
    E952 = "{path} is damaged ({reason}). Get the pipeline again."
    E953 = (
        "The picture {source} was not decoded within {seconds} seconds, and its decoder was stopped. Scale it down, or raise "
        "RIVEGA_DECODE_SECONDS."
    )
    E954 = (
        "The picture {source} made its decoder crash ({reason}). It is damaged, or needs more memory than RIVEGA_DECODE_MEMORY allows: "
        "replace it."
    )
    E955 = "The picture {source} is outside {root}. Put it there, or change RIVEGA_IMAGE_ROOT."
    E957 = "The archive {path} cannot be unpacked ({reason}). Download it again from its source."
    E976 = "{path} {reason}, so the pipeline is left alone. Get it again: a pipeline has files, folders and links to such."
    E977 = (
        "{path} is a link to {target}, outside of the pipeline's folder, and what it leads to would be given out. Remove it, or put the "
        "file in its place: `cp -rL` copies a folder with what its links lead to."
    )
    E978 = "A component is called {name!r}, which is no file's name in the pipeline's folder. Rename it in config.cfg."


__all__ = ["PostMessages"]
