"""The part of MongoDB's query language that users may use: an allow-list, since servers learn new stages with every version.

Left out are stages that write or read the server's own state, JavaScript, and what reads other databases. Names as in the
MongoDB manual, versions 6.0 to 8.0.
"""

from collections.abc import Iterator
from typing import Any

from bson.code import Code
from bson.dbref import DBRef

from kowalski.nesting import is_too_deep

Stage = dict[str, Any]

#: stages that read another collection -> the key that names it
READS_FROM = {"$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


STAGES = _names(
    """
    $addFields $bucket $bucketAuto $count $densify $documents $facet $fill $geoNear $graphLookup $group $limit $lookup
    $match $project $redact $replaceRoot $replaceWith $sample $set $setWindowFields $skip $sort $sortByCount $unionWith
    $unset $unwind
    """
)

_CONDITIONS = """
    $all $and $bitsAllClear $bitsAllSet $bitsAnyClear $bitsAnySet $box $caseSensitive $center $centerSphere $comment
    $diacriticSensitive $elemMatch $eq $exists $expr $geoIntersects $geoWithin $geometry $gt $gte $in $jsonSchema
    $language $lt $lte $maxDistance $meta $minDistance $mod $ne $near $nearSphere $nin $nor $not $options $or $polygon
    $rand $regex $sampleRate $search $size $slice $text $type $natural
    """
_EXPRESSIONS = """
    $abs $acos $acosh $add $addToSet $allElementsTrue $and $anyElementTrue $arrayElemAt $arrayToObject $asin $asinh $atan
    $atan2 $atanh $avg $binarySize $bitAnd $bitNot $bitOr $bitXor $bottom $bottomN $bsonSize $ceil $cmp $concat
    $concatArrays $cond $convert $cos $cosh $count $covariancePop $covarianceSamp $dateAdd $dateDiff $dateFromParts
    $dateFromString $dateSubtract $dateToParts $dateToString $dateTrunc $dayOfMonth $dayOfWeek $dayOfYear
    $degreesToRadians $denseRank $derivative $divide $documentNumber $each $eq $exp $expMovingAvg $filter $first $firstN
    $floor $getField $gt $gte $hour $ifNull $in $indexOfArray $indexOfBytes $indexOfCP $integral $isArray $isNumber
    $isoDayOfWeek $isoWeek $isoWeekYear $last $lastN $let $linearFill $literal $ln $locf $log $log10 $lt $lte $ltrim $map
    $max $maxN $median $mergeObjects $meta $millisecond $min $minN $minMaxScaler $minute $mod $month $multiply $ne $not
    $objectToArray $or $percentile $pow $push $radiansToDegrees $rand $range $rank $reduce $regexFind $regexFindAll
    $regexMatch $replaceAll $replaceOne $reverseArray $round $rtrim $second $setDifference $setEquals $setField
    $setIntersection $setIsSubset $setUnion $shift $sin $sinh $size $slice $sortArray $split $sqrt $stdDevPop $stdDevSamp
    $strLenBytes $strLenCP $strcasecmp $substr $substrBytes $substrCP $subtract $sum $switch $tan $tanh $toBool $toDate
    $toDecimal $toDouble $toHashedIndexKey $toInt $toLong $toLower $toObjectId $toString $toUUID $toUpper $top $topN $trim
    $trunc $tsIncrement $tsSecond $type $unsetField $week $year $zip
    """
OPERATORS = _names(_CONDITIONS) | _names(_EXPRESSIONS)

#: as deep as MongoDB stores documents
MAX_DEPTH = 100


class TooDeep(ValueError):
    """A query is nested deeper than MongoDB takes."""

    def __init__(self) -> None:
        super().__init__(f"the query is nested deeper than {MAX_DEPTH} levels")


def strangers(value: Any, depth: int = 0) -> Iterator[str]:
    """Operators of a condition, projection or expression that are not allowed, wherever in it they stand.

    Raises
    ------
    TooDeep
    """
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and key.startswith("$"):
                if key == "$literal":
                    if is_too_deep(item, MAX_DEPTH - depth):
                        raise TooDeep
                    continue
                if key not in OPERATORS:
                    yield key
                if key == "$meta" and item == "recordId":  # a running number: its gaps tell how many rows are hidden
                    yield "$meta: recordId"
            yield from strangers(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strangers(item, depth + 1)
    elif isinstance(value, Code):
        yield "$code"
    elif isinstance(value, DBRef):  # which may hold anything
        yield "$ref"


def strange_stages(pipeline: Any, allowed: frozenset[str] = STAGES, depth: int = 0) -> Iterator[str]:
    """Stages of a pipeline, and of the pipelines inside it, that are not allowed.

    Raises
    ------
    TooDeep
    ValueError : it is not a list of stages with one key each
    """
    for name, body in _stages(pipeline, depth):
        if name not in allowed:
            yield name
        for inner in inner_pipelines(name, body):
            yield from strange_stages(inner, allowed, depth + 1)


def strangers_in(pipeline: Any, depth: int = 0) -> Iterator[str]:
    """Operators that are not allowed in any stage of a pipeline, and of the pipelines inside it; raises as `strange_stages`."""
    for name, body in _stages(pipeline, depth):
        for inner in inner_pipelines(name, body):
            yield from strangers_in(inner, depth + 1)
        yield from strangers(_without_pipelines(name, body), depth + 1)


def inner_pipelines(name: str, body: Any) -> list[Any]:
    """The pipelines inside one stage."""
    if not isinstance(body, dict):
        return []
    if name == "$facet":
        return list(body.values())
    return [body["pipeline"]] if name in READS_FROM and "pipeline" in body else []


def _without_pipelines(name: str, body: Any) -> Any:
    if name == "$facet" and isinstance(body, dict):
        return dict.fromkeys(body)  # its names, none of which may be an operator's
    if name in READS_FROM and isinstance(body, dict):
        return {key: value for key, value in body.items() if key != "pipeline"}
    return body


def _stages(pipeline: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise TooDeep
    if not isinstance(pipeline, list):
        raise ValueError("a pipeline must be a list of stages")
    for stage in pipeline:
        if not isinstance(stage, dict) or len(stage) != 1:
            raise ValueError("each stage of a pipeline must be an object with exactly one key")
        yield from ((str(name), body) for name, body in stage.items())
