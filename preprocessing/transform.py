"""Decides how raw columns become features: the two tf.Transform graphs, for views and for the catalogue.

Import it only where tf.Transform is wanted: it switches `tf.keras` to Keras 2 for the whole process.
"""

import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from preprocessing import features

Tensors = Mapping[str, tf.Tensor]


def views_fn(inputs: Tensors, vocabularies: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Article and region ids -> `article` and `region` as indices, ragged int64.

    `vocabularies` maps `article_id` and `region_id` to the files that the indices are lines of.
    """
    return {
        "article": _lookup(inputs["article_id"], "article_id", vocabularies, features.OOV_ARTICLE_BUCKETS),
        "region": _lookup(inputs["region_id"], "region_id", vocabularies, 1),
    }


def catalogue_fn(inputs: Tensors, vocabularies: Mapping[str, str], title_buckets: int) -> dict[str, tf.Tensor]:
    """Articles -> the features of the catalogue in docs/artifacts.md; the only analysis is the price's mean and
    variance."""
    price, has_price = _price(inputs["price"])
    outputs = {
        "article": _lookup(inputs["article_id"], "article_id", vocabularies, features.OOV_ARTICLE_BUCKETS),
        "region": _lookup(inputs["region_id"], "region_id", vocabularies, 1),
        "category": _lookup(inputs["category_id"], "category_id", vocabularies, 1),
        "title": title_ngrams(inputs["title"], title_buckets),
        "price": price,
        "has_price": has_price,
    }
    unchanged = ("created_time", "removed_time", "views", "embedding")
    return outputs | {name: inputs[name] for name in unchanged if name in inputs}


def title_ngrams(titles: tf.Tensor, buckets: int) -> tf.RaggedTensor:
    """[batch] strings -> hashes of the first 48 character trigrams of the lower-cased title, ragged int64 in [0,
    buckets).

    Characters and not words: Korean puts no reliable spaces. The title is framed by spaces, so that one letter is a
    trigram too; an empty title has none.
    """
    lowered = tf.strings.lower(tf.strings.strip(titles), encoding="utf-8")
    # More than so many characters are in none of the first trigrams.
    short = tf.strings.substr(lowered, 0, features.TITLE_CHARACTERS, unit="UTF8_CHAR")
    framed = tf.where(short == "", "", tf.strings.join([" ", short, " "]))
    ngrams = tf.strings.ngrams(
        tf.strings.unicode_split(framed, "UTF-8", errors="replace"), features.TITLE_NGRAM_LENGTH, separator=""
    )
    return tf.strings.to_hash_bucket_fast(ngrams[:, : features.TITLE_NGRAMS], buckets)


def adapter_config(raw: Sequence[features.RawFeature]) -> tfxio.TensorAdapterConfig:
    """Tells tf.Transform how the list columns of a record batch are to be read as tensors."""
    return tfxio.TensorAdapterConfig(
        features.arrow_schema(raw), {feature.name: _representation(feature) for feature in raw}
    )


def _price(price: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    known = tf.math.is_finite(price)
    log_price = tf.math.log1p(tf.maximum(tf.where(known, price, 0.0), 0.0))
    mean = tft.mean(tf.boolean_mask(log_price, known), name="price_mean")
    variance = tft.var(tf.boolean_mask(log_price, known), name="price_variance")
    z_score = tf.math.divide_no_nan(log_price - mean, tf.sqrt(variance))
    return tf.where(known, z_score, 0.0), tf.cast(known, tf.float32)


def _lookup(values: tf.Tensor, name: str, vocabularies: Mapping[str, str], oov_buckets: int) -> tf.Tensor:
    if not pathlib.Path(vocabularies[name]).stat().st_size:
        # TensorFlow fills no table from an empty file; outside an empty vocabulary every index is its size, 0.
        return tf.zeros_like(values, tf.int64)
    with tf.init_scope():
        # A constant of the graph would have the table filled anew at every call.
        file = tf.constant(vocabularies[name])
    tft.annotate_asset(name, f"{name}.txt")
    return tft.apply_vocabulary(values, file, num_oov_buckets=oov_buckets, name=name)


def _representation(feature: features.RawFeature) -> schema_pb2.TensorRepresentation:
    representation = schema_pb2.TensorRepresentation()
    if feature.layout == "ragged":
        representation.ragged_tensor.feature_path.step.append(feature.name)
        representation.ragged_tensor.row_partition_dtype = schema_pb2.TensorRepresentation.RowPartitionDType.INT64
        return representation
    representation.dense_tensor.column_name = feature.name
    if feature.layout == "dense":
        representation.dense_tensor.shape.dim.add(size=feature.width)
    else:
        representation.dense_tensor.shape.SetInParent()
    return representation
