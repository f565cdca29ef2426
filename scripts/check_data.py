"""Say which of the data files are missing, and where each comes from."""
import argparse
import sys
from pathlib import Path

FILES = {
    "posts/twitter_gmner_train.jsonl.gz": "Twitter-GMNER v2.0 with recorded knowledge, as JSON lines: id, tokens, tags, knowledge, boxes",
    "posts/twitter_gmner_dev.jsonl.gz": "the same, dev split",
    "posts/twitter_gmner_test.jsonl.gz": "the same, test split",
    "photos/voc2007_test_a.tar.gz": "Pascal VOC 2007 test photographs (images/ and annotations.jsonl), first half",
    "photos/voc2007_test_b.tar.gz": "the same, second half",
    "photos/ccp_pixel.tar.gz": "Clothing Co-Parsing photographs with pixel labels, in the same form",
    "photos/coco_train_258.tar.gz": "258 COCO photographs, in the same form",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    missing = [f"  {name}: {what}" for name, what in FILES.items() if not (data / name).is_file()]
    if missing:
        message = "\n".join(missing)
        sys.stderr.write(f"Not in {data} (point `vars.data` of project.yml at your data folder):\n{message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
