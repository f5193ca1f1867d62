"""두 대 이상의 컴퓨터에서 Ray로 인코딩하고 한 컬렉션에 넣습니다. 중단되면 같은 명령으로 이어서 합니다.

Encodes on several machines with Ray and adds the vectors to one collection. After an interruption, the same command
goes on: texts whose vectors are in the folder are not encoded again.

실행(run): pip install "ray[data]" && python examples/encode_with_ray.py --folder build/vectors --index build/index
"""

import argparse
import json
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from korag import Collection
from korag.distributed import EncodeDocuments, add_encoded_texts

HANDBOOK = Path(__file__).with_name("handbook.jsonl")
MODELS = ["mini-colbert", "mini-dense"]
BATCH = 8


def connect(address: str | None) -> None:
    """Connects to a cluster, or starts one of two nodes on this machine."""
    if address is None:
        cluster = Cluster()
        for _ in range(2):
            cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
        address = cluster.address
    ray.init(address=address, log_to_driver=False)


def encode(texts: list[str], folder: Path) -> None:
    """Writes the vectors of texts to a folder that all nodes share."""
    blocks = max(1, len(texts) // BATCH)
    dataset = ray.data.from_items([{"text": text} for text in texts]).repartition(blocks)
    encoded = dataset.map_batches(
        EncodeDocuments,
        fn_constructor_kwargs={"models": MODELS, "folder": str(folder)},
        batch_size=BATCH,
        num_cpus=1,
        concurrency=2,  # one for each node; a node has a second CPU for what reads and passes on
        max_restarts=3,  # a worker that is killed comes back, and its batch with it
        max_task_retries=3,
    )
    encoded.materialize()


def main() -> None:
    """Encodes what is not encoded yet, and builds the collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, default=HANDBOOK, help="JSONL with id and text")
    parser.add_argument("--folder", type=Path, required=True, help="vectors; on storage that all nodes share")
    parser.add_argument("--index", type=Path, required=True, help="the collection")
    parser.add_argument("--address", help="of a Ray cluster; without it, two nodes are started on this machine")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.documents.read_text(encoding="utf-8").splitlines()]
    folder = given.folder.resolve()
    new = EncodeDocuments(MODELS, folder=folder).missing([row["text"] for row in rows])
    print(f"문서 {len(rows)}건, 새로 인코딩할 것 {len(new)}건 / {len(rows)} documents, {len(new)} to encode")
    if new:
        connect(given.address)
        encode(new, folder)
        ray.shutdown()
    with Collection.open(given.index, encoders=MODELS, bm25=True) as collection:
        count = add_encoded_texts(collection, ((row["id"], row["text"]) for row in rows), folder)
        print(f"컬렉션 {len(collection)}건 / {count} documents in the collection")
        print(collection.search("집주인이 전세금을 안 돌려줘요", k=1)[0].text)


if __name__ == "__main__":
    main()
