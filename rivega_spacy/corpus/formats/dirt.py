"""What is wrong with the files: counted and told, or refused in strict mode."""

from ...post.errors import Errors, RivegaError

# kind -> how it is told; {n} is the count.
KINDS: dict[str, str] = {
    "bad_line": "{n} lines hold no token and tag",
    "bad_columns": "{n} lines have another number of columns than the file (left out)",
    "comment": "{n} lines are comments (left out)",
    "unknown_tag": "{n} tags are of no known scheme (read as O)",
    "other_scheme": "{n} tags are of another scheme than BIO (read as BIO)",
    "iob1": "{n} entities begin with I-, as in IOB1",
    "no_break_space": "{n} tokens are only blank characters (kept, so that tags stay in step)",
    "imgid_space": "{n} IMGID lines begin with a space",
    "orphan_tag": "{n} I- tags continue nothing (read as beginnings)",
    "odd_character": "{n} tokens hold a zero-width, control or replacement character (kept)",
    "repeated_text": "{n} entities have the text of an earlier one of their post (each has the regions of that name)",
    "two_types": "{n} of these are of another type than the earlier one",
    "duplicate_post": "{n} posts occur twice (the first is kept)",
    "filename": "{n} box files name another picture than their own name says (the file's own name counts)",
    "bad_file": "{n} files cannot be read (left out)",
    "bad_region": "{n} regions are empty or malformed (left out)",
    "bad_picture": "{n} entries of pictures or categories are malformed (left out)",
    "bad_size": "{n} pictures are given a size that no picture has (taken as unknown)",
    "bad_mask": "{n} masks are empty or malformed (their boxes are kept)",
    "mask_size": "{n} masks are not of the size of their picture (their boxes are kept)",
    "no_size": "{n} masks cannot be drawn, as the size of their picture is not known (their boxes are kept; --images tells it)",
    "outside": "{n} regions reach beyond their picture (cut at its edge)",
    "sideways": "{n} pictures have regions that fit only if it is turned on its side (boxes kept, masks left out; --images tells which way up)",
    "turned": "{n} pictures lie sideways in their files, and their regions with them (turned as a person sees them)",
    "scaled": "{n} pictures were annotated at another size (their regions are scaled)",
    "other_size": "{n} pictures are not of the size that is stated (their own size counts)",
    "box_from_mask": "{n} regions have no usable box (it is taken from their mask)",
    "duplicate_region": "{n} regions occur twice (the first is kept)",
    "ambiguous": "{n} regions belong to one of several pictures, or entities, of one name or id (left out)",
    # By post and name: a name that was drawn several times is one fault, and its other boxes are told apart.
    "unmatched_box": "{n} boxes match no entity",
    "unmatched_box_again": "{n} more boxes bear one of these names",
    "unmatched_mask": "{n} masks match no entity",
    "unmatched_mask_again": "{n} more masks bear one of these names",
    "repaired_name": "{n} region names were repaired",
    "unmasked": "{n} entities have boxes but no mask",
    "renamed": "{n} pictures go by another name than their post (matched without hash, ending, case)",
    "duplicate_picture": "{n} pictures are annotated twice (the first is kept)",
    "duplicate_text": "{n} captions, descriptions or pieces of knowledge come twice for a post (the first is kept)",
    "no_region": "{n} source of regions matches no post at all, so nothing of it was used",
    "no_picture": "{n} folder holds none of the posts' pictures",
    "foreign_region": "{n} posts with regions are not among the posts",
    "knowledge_order": "{n} knowledge entries match no post",
    "knowledge_gap": "{n} posts have no knowledge entry",
    "bad_expansion": "{n} lines of expansions are of no known form (left out)",
    "foreign_expansion": "{n} expansions belong to no entity of the posts",
    "no_expansion": "{n} entities have no expansion in their file",
    "empty_token": "{n} knowledge lines hold an empty token",
    "no_caption": "{n} posts have no caption",
    "empty_caption": "{n} captions are empty",
    "rejected": "{n} tasks were rejected or skipped by the annotator (left out)",
    "bad_post": "{n} posts have no text (left out)",
    "bad_entity": "{n} entities are malformed, outside the text or overlap another one (left out)",
    "moved_entity": "{n} entities stand elsewhere than their offsets say (found by their text)",
    "split_token": "{n} entities begin or end within a token (it is cut there)",
    "bad_field": "{n} values of entities are malformed (left out)",
    "not_shown": "{n} entities have a box or mask, but `groundable` is false (both are left out)",
    "other_box": "{n} entities have a `box` that is none of their `boxes` (`boxes` counts)",
    "unused_entities": "{n} fields hold entities and are not read",
    "with_errors": "{n} posts carry errors of the run that annotated them",
    "unreviewed": "{n} tasks have no annotation (left out)",
    "unlinked_region": "{n} regions are linked to no entity, and no single entity is of their type (left out)",
    "corrected_box": "{n} boxes were corrected in the table (their masks are left out)",
    "misaligned": "{n} entities do not begin and end at tokens (left out)",
}
# What is no fault of the files: told, but not refused in strict mode.
HARMLESS = {
    "comment",
    "other_scheme",
    "iob1",
    "renamed",
    "split_token",
    "with_errors",
    "odd_character",
    "repeated_text",
    "two_types",
    "repaired_name",
    "unmasked",
    "knowledge_gap",
    "foreign_expansion",
    "no_expansion",
    "no_caption",
    "rejected",
    "unreviewed",
    "corrected_box",
    "foreign_region",
    "turned",
    "scaled",
    "box_from_mask",
    "unmatched_box_again",
    "unmatched_mask_again",
}
SHOWN = 5


class Dirt:
    """Counts what does not fit, with examples.

    strict (bool): Raise at the first thing that is not harmless.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def note(self, kind: str, where: str) -> None:
        """Count one.

        kind (str): A key of `KINDS`.
        where (str): Post and detail, for the report.
        RAISES (RivegaError): E130 in strict mode.
        """
        if self.strict and kind not in HARMLESS:
            raise RivegaError(Errors.E130.format(what=KINDS[kind].format(n=1), where=where))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < SHOWN:
            examples.append(where)

    def lines(self) -> list[str]:
        """The report as text, for example "56 boxes match no entity: 12990 'Pacquia', ..."."""
        result = []
        for kind, text in KINDS.items():
            if kind in self.counts:
                more = ", ..." if self.counts[kind] > SHOWN else ""
                result.append(f"{text.format(n=self.counts[kind])}: {', '.join(self.examples[kind])}{more}")
        return result
