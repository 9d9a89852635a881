"""DuckDB's functions by how much they may make of what they are given. What stands nowhere here, and gives
values without a fixed size, is not called."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOOPS = _words("apply array_apply array_transform list_apply list_transform")
FILTERS = _words("array_filter filter list_filter")
SIZED: Mapping[str, tuple[int, ...]] = {
    "array_resize": (1,),
    "bar": (3,),
    "generate_series": (0, 1, 2),
    "list_resize": (1,),
    "lpad": (1,),
    "range": (0, 1, 2),
    "repeat": (1,),
    "rpad": (1,),
}
"""The places of arguments that say how large the value is."""

PADS = _words("bar lpad rpad")
RESIZES = _words("array_resize list_resize")

SUMS = _words(
    """
    || + - * / // % & | << >> ~ ^ concat list_value list_pack struct_pack row list_concat array_concat
    list_cat array_cat upper lower ucase lcase trim ltrim rtrim left right substr substring
    substring_grapheme reverse left_grapheme right_grapheme strip_accents nfc_normalize decode encode
    from_base64 from_hex unhex from_binary unbin url_decode regexp_extract regexp_escape translate
    overlay greatest least nullif if ifnull coalesce constant_or_null list_sort array_sort
    list_reverse_sort array_reverse_sort list_distinct array_distinct list_reverse array_reverse
    list_slice array_slice list_extract array_extract list_element list_intersect array_intersect
    list_where array_where list_select array_select list_grade_up array_grade_up grade_up list_zip
    array_zip flatten array_value array_pop_back array_pop_front list_append array_append list_prepend
    array_prepend array_push_back array_push_front struct_extract struct_extract_at struct_insert
    struct_concat map map_keys map_values map_entries map_extract map_extract_value map_from_entries
    map_concat element_at json_value timezone
    parse_filename parse_dirname parse_dirpath parse_path split_part error add subtract date_add fdiv
    fmod
    """
)
"""The value is at most as large as all arguments together."""

SHORT = _words("chr date_part datepart dayname md5 monthname sha1 sha256 typeof")
"""The value is at most `sql_growth.SHORT_BYTES` larger."""

FACTORS: Mapping[str, float] = (
    dict.fromkeys(_words("hex to_hex base64 to_base64"), 2.0)
    | dict.fromkeys(_words("url_encode"), 3.0)
    | dict.fromkeys(_words("to_json json json_quote array_to_json row_to_json json_object json_array"), 6.0)
    | dict.fromkeys(_words("bin to_binary"), 8.0)
    | dict.fromkeys(_words("strftime"), 16.0)  # '%c' is a date and a time
    | dict.fromkeys(_words("string_split split str_split string_to_array string_split_regex"), 16.0)
    | dict.fromkeys(_words("str_split_regex regexp_split_to_array regexp_extract_all json_keys"), 16.0)
)
"""At most so many times as large."""

JSON_PATHS = _words("json_extract json_extract_path json_extract_string json_extract_path_text -> ->>")
LIKE = _words("~~ !~~ ~~* !~~* ~~~ like_escape not_like_escape ilike_escape not_ilike_escape")
REPLACES = _words("replace regexp_replace")
JOINS = _words("array_to_string list_string_agg")
AGGREGATES = _words("list_aggregate list_aggr array_aggregate array_aggr aggregate")
AGGREGATED = _words(
    """
    sum avg min max count first last any_value mode median stddev stddev_pop stddev_samp var_pop var_samp
    product bool_and bool_or
    """
)
UNBOUNDED = _words(
    """
    levenshtein editdist3 damerau_levenshtein jaccard jaro_similarity jaro_winkler_similarity mismatches
    reduce list_reduce array_reduce
    """
)
"""Their time grows with the square, or their value with each step."""

FIXED_TYPES = _words(
    """
    BIGINT BOOLEAN DATE DECIMAL DOUBLE FLOAT HUGEINT INTEGER INTERVAL SMALLINT TIME TIMESTAMP
    TIMESTAMP_MS TIMESTAMP_NS TIMESTAMP_S TINYINT UBIGINT UHUGEINT UINTEGER USMALLINT UTINYINT UUID
    """
) | {"TIMESTAMP WITH TIME ZONE", "TIME WITH TIME ZONE"}
BITS = _words("BIT BITSTRING VARBIT")
TRUTHS = _words("OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL COMPARE_IN COMPARE_NOT_IN")
