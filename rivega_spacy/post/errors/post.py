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
    E050 = "{path} is read by this command, so it cannot be written by it as well. Name another output."
    E051 = "{path} is a folder; the name of a file is needed."
    E052 = "{path} cannot be written ({reason}). What was there before is as it was."
    E053 = "{path} is a file; the name of a folder is needed."
    E054 = "the compressed file breaks off or is damaged here ({reason}); what came before was read"
    E055 = "its line has more than {limit} characters"
    E056 = "it is nested more than {limit} levels deep"
    E060 = "Post {post}: {fields} is nested more than {limit} levels deep; it is left out."
    E061 = (
        "Post {post}: {fields} held halves of characters (lone surrogates) or bytes that are no UTF-8; each is U+FFFD now. Look where the "
        "text was cut, or in which encoding it was written."
    )
    E062 = "Post {post}: the entity {value} holds only blanks, invisible or replacement characters, so it is left out."
    E063 = "Post {post} has more than {limit} notes; the rest is left out."
    E085 = "A mask must be a two-dimensional array of bool, HxW, not {kind}. For run lengths set `mask_rle`."
    E086 = "`{name}` is computed and cannot be set. Set {instead}."
    E087 = "`labels` gives {wrong}. The types are {known}."
    W088 = (
        "The entity label {label!r} is not known and counts as OTHER. Give its type in the config of the component, for example "
        '`[components.rivega_expander.labels]` with `{label} = "PER"`.'
    )
    E089 = "{what} cannot be set up ({reason}). Nothing can be said about any post before that is mended."
    E209 = "`{option}` must be at least {least}, not {value!r}."
    E300 = "A mask must be a two-dimensional array, HxW, not one of shape {shape}."
    E301 = "The run lengths {counts} are not COCO's text form. Write them with `rivega_spacy.post.rle.encode_mask` or pycocotools."
    E302 = "A mask must be an RLE dict {{'size': [height, width], 'counts': ...}}, not {rle}."
    E303 = "The runs of the mask cover {total} pixels, its size says {height}x{width}. Mask and size do not belong together."
    E304 = "The masks are of several sizes {sizes}. Only masks of one and the same picture can be compared or joined."
    E445 = (
        "Post {post}: the field `{field}` holds entities and is not read. Write them as `ents`: [start_char, end_char, label], or convert "
        "the file first (`rivega convert`)."
    )
    E446 = "Post {post}: {text!r} does not stand where its offsets say; it was found at [{start}, {end}]. Correct the offsets too."
    E447 = "Post {post}: `{key}` of {entity!r} must be {wanted}, not {value}; it is left out."
    E460 = (
        "A mask of {height}x{width} has more pixels than the limit of {limit}, so it is not decoded. Take the mask at the size of its "
        "picture, or raise the limit with the environment variable RIVEGA_MAX_PIXELS."
    )
    E603 = "Post {post}: {what} of an entity must be {kind}, not {value}; it is left out."
    E738 = "`{option}` must be {allowed}, not {value!r}."


__all__ = ["PostMessages"]
