"""A Ray job on two nodes of this machine, of which one worker is killed: run by `test_ray.py`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from korag.distributed import EncodeDocuments


class KilledOnce(EncodeDocuments):
    """Kills its own process at one text, before its vectors are written."""

    def __init__(self, *, mark: str, log: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._mark, self._log = Path(mark), Path(log)

    def __call__(self, batch: Any) -> Any:
        texts = list(batch["text"])
        if "500번 안내문입니다." in texts and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        new = self.missing(texts)
        found = super().__call__(batch)
        node = ray.get_runtime_context().get_node_id()
        line = json.dumps({"pid": os.getpid(), "node": node, "texts": len(texts), "new": len(new)})
        with self._log.open("a") as file:
            file.write(line + "\n")
        return found


def main(folder: str, count: int) -> None:
    cluster = Cluster()
    for _ in range(2):  # of 3 CPUs: 2 for the worker, and 1 for what reads and divides
        cluster.add_node(num_cpus=3, object_store_memory=100 * 2**20)
    ray.init(address=cluster.address, log_to_driver=False)
    texts = [f"{number}번 안내문입니다." for number in range(count)]
    dataset = ray.data.from_items([{"text": text} for text in texts]).repartition(count // 50)
    encoded = dataset.map_batches(
        KilledOnce,
        fn_constructor_kwargs={
            "models": [{"model": "mini-dense", "dtype": "float32"}],  # the precision that the test compares with
            "folder": f"{folder}/vectors", "mark": f"{folder}/mark", "log": f"{folder}/log",
        },
        batch_size=50, num_cpus=2, concurrency=2, max_restarts=3, max_task_retries=3,
    )  # fmt: skip
    rows = encoded.take_all()
    counts = {"rows": len(rows), "keys": len({row["korag_key"] for row in rows})}
    sys.stdout.write(json.dumps(counts) + "\n")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
