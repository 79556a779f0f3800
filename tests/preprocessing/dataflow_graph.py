"""Decides how a test sees what Dataflow would be sent: the stages' graphs, built without a network.

`python -m tests.preprocessing.dataflow_graph` prints one JSON object; a process of its own: it imports tf.Transform.
"""

import json

from preprocessing import catalogue, count, execution, views
from preprocessing.bigquery import Connection
from preprocessing.job import Job, Part
from preprocessing.plan import Piece

FLAGS = (
    "--runner=DataflowRunner", "--dry_run=True", "--no_auth", "--project=nearfeed-test", "--region=europe-west1",
    "--temp_location=gs://bucket/tmp", "--staging_location=gs://bucket/staging", "--job_name=dataset",
    "--sdk_container_image=europe-docker.pkg.dev/nearfeed-test/nearfeed/preprocessing:1", "--max_num_workers=20",
    "--autoscaling_algorithm=THROUGHPUT_BASED", "--experiments=use_runner_v2",
)  # fmt: skip


def main() -> None:
    """Prints stage -> its transforms, the images of their workers, and how many bytes the graph has."""
    job = Job(Connection("p", "d"), "gs://bucket/datasets/x", "gs://bucket/datasets/x/.work", 2, 100, FLAGS)
    pieces = [Piece(number, "p.d.views", number, number + 1, 10) for number in range(3)]
    built = {
        "count": execution.build(count.Count(job), pieces, FLAGS),
        "catalogue": execution.build(catalogue.Catalogue(job), [Part(0, 10)], FLAGS),
        "views": execution.build(views.Views(job), pieces, FLAGS),
    }
    told = {}
    for stage, pipeline in built.items():
        pipeline.run()
        components = pipeline.runner.proto_pipeline.components
        told[stage] = {
            "transforms": sorted(transform.unique_name for transform in components.transforms.values()),
            "images": [environment.payload.decode("latin-1") for environment in components.environments.values()],
            "bytes": pipeline.runner.proto_pipeline.ByteSize(),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
