"""Decides what the service is compared with: an endpoint that does nothing, and the same models behind what a tutorial
would write. `python -m services.bench_peers empty|plain`."""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI

from services import catalogue, schemas
from services.features import Features

K, CANDIDATES = 20, 200


def empty() -> FastAPI:
    """Reads the request and gives an answer of 20 articles, both by the service's own models."""
    app = FastAPI()
    items = [
        schemas.RecommendedArticle(
            article_id=f"article-{place:07d}", score=1 / place, position=place, source="two_tower"
        )
        for place in range(1, K + 1)
    ]
    answer = schemas.PlainRecommendations(
        request_id="0" * 32, release_id="0" * 16, variant=None, degraded=None, items=items
    )

    @app.post("/v1/recommendations")
    async def recommend(body: schemas.RecommendationRequest) -> schemas.PlainRecommendations:
        del body
        return answer

    _ready(app)
    return app


def plain(release: str) -> FastAPI:
    """The release's models through `model.predict` and an IndexFlatIP, a request at a time. Features do not change:
    they lie ready in one array, which costs less than to compute them."""
    import faiss
    import keras
    import tensorflow as tf

    folder = pathlib.Path(release)
    articles, _ = catalogue.read(folder / "catalogue.parquet")
    tokens, vectors = np.load(folder / "tokens.npy"), np.load(folder / "vectors.npy")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    user, rank = _keras_model(folder / "towers", "user"), _keras_model(folder / "ranking", "rank")
    features = np.random.default_rng(0).normal(size=(len(articles), len(Features.names()))).astype(np.float32)
    keras.utils.disable_interactive_logging()
    app = FastAPI()

    @app.post("/v1/recommendations")
    def recommend(body: schemas.RecommendationRequest) -> schemas.PlainRecommendations:
        rows = np.array(articles.known(body.recent_article_ids or []), np.int64)[-50:]
        history = np.zeros((1, 50, tokens.shape[1]), np.float32)
        history[0, : len(rows)] = tokens[rows]
        asked = {
            "tokens": history,
            "length": np.array([len(rows)], np.int32),
            "region_id": tf.constant([body.region_id or ""]),
            "time": np.array([1_767_225_600_000_000]),
        }
        found = index.search(user.predict(asked)["vector"], CANDIDATES + len(rows))[1][0]
        found = found[~np.isin(found, rows)][:CANDIDATES]
        lists = {
            "features": features[found][np.newaxis],
            "candidates": tokens[found][np.newaxis],
            "history": history,
            "length": np.array([[len(found), len(rows)]], np.int32),
            "position": np.zeros((1, len(found)), np.int32),
        }
        scores = rank.predict(lists)["probabilities"][0, :, 0]
        items = [
            schemas.RecommendedArticle(
                article_id=articles.article_ids[found[best]],
                score=float(scores[best]),
                position=place,
                source="two_tower",
            )
            for place, best in enumerate(np.argsort(-scores)[: body.k], start=1)
        ]
        return schemas.PlainRecommendations(
            request_id="0" * 32, release_id=folder.name, variant=None, degraded=None, items=items
        )

    recommend(schemas.RecommendationRequest.model_validate({"recent_article_ids": list(articles.article_ids[:50])}))
    _ready(app)
    return app


def main(arguments: Sequence[str]) -> int:
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m services.bench_peers", description=__doc__)
    parser.add_argument("kind", choices=("empty", "plain"))
    parser.add_argument("--release", metavar="PATH", help="of the models, for plain")
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args(arguments)
    app = empty() if args.kind == "empty" else plain(args.release)
    uvicorn.run(app, host="127.0.0.1", port=args.port, access_log=False, log_level="warning")
    return 0


def _keras_model(folder: pathlib.Path, signature: str) -> Any:
    """A SavedModel as a model of keras, which takes the signature's inputs by name."""
    import keras
    import tensorflow as tf

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = tf.saved_model.load(str(folder))

        def call(self, inputs: dict[str, Any]) -> Any:
            return self.loaded.signatures[signature](**inputs)

    return Model()


def _ready(app: FastAPI) -> None:
    @app.get("/readyz")
    async def readyz() -> schemas.Health:
        return schemas.Health()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
