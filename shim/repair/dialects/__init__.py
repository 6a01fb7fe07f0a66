"""Every form of a call in text that is known, in the order in which they are tried.

To add one: a `Dialect` in the module of its kin, and a line here. The number tells the kinds in
docs/dialects.md apart.
"""

from __future__ import annotations

from . import bare, gemma, jsons, pairs, python, tokens, xml
from .base import Dialect

_TABLE: tuple[tuple[int, Dialect], ...] = (
    (1, jsons.HERMES),
    (2, xml.QWEN3_CODER),
    (3, xml.FUNCTION_XML),
    (4, xml.FUNCTION_JSON),
    (5, pairs.GLM45),
    (6, pairs.GLM47),
    (7, pairs.HUNYUAN3),
    (8, jsons.TOOL_CALLS_ARRAY),
    (9, jsons.TOOL_CALLS_LINES),
    (10, xml.MINIMAX_M2),
    (11, xml.MINIMAX_M3),
    (12, xml.ANTHROPIC),
    (13, xml.ANTHROPIC_NS),
    (14, xml.BARE_INVOKE),
    (15, xml.DOTS),
    (16, xml.ATEM),
    (17, xml.XAI),
    (18, xml.STEP3),
    (19, tokens.DEEPSEEK_V3),
    (20, tokens.DEEPSEEK_V31),
    (21, xml.DSML),
    (22, xml.DSML_V4),
    (23, tokens.KIMI_K2),
    (24, pairs.KIMI_K3),
    (25, tokens.HARMONY),
    (26, tokens.HARMONY_STRIPPED),
    (27, jsons.LLAMA_JSON),
    (28, python.LLAMA_BUILTIN),
    (29, python.PYTHONIC),
    (30, python.LLAMA4),
    (31, python.OLMO3),
    (32, python.LFM2),
    (33, bare.TOOL_CODE),
    (34, jsons.MISTRAL),
    (35, tokens.MISTRAL_V11),
    (36, jsons.FUNCTOOLS),
    (37, tokens.FUNCTIONARY),
    (38, jsons.INTERNLM),
    (39, jsons.GRANITE),
    (40, jsons.GRANITE_20B),
    (41, jsons.COHERE),
    (42, jsons.APERTUS),
    (43, jsons.NEMOTRON),
    (44, xml.SEED_OSS),
    (45, jsons.LONGCAT),
    (45, pairs.LONGCAT_PAIRS),
    (46, gemma.FUNCTION_GEMMA),
    (47, gemma.GEMMA4),
    (48, jsons.GIGACHAT),
    (49, tokens.INKLING),
    (50, pairs.SOLAR),
    (51, pairs.K2_HORIZON),
    (52, xml.MINICPM5),
    (53, jsons.ERNIE),
    (54, bare.XLAM),
    (55, bare.CLINE),
    (56, bare.FENCED_JSON),
    (57, bare.REACT),
    (58, bare.CODEX_PATCH),
    (58, bare.FENCED_PATCH),
)
NUMBERS = {dialect.name: number for number, dialect in _TABLE}
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for _, dialect in _TABLE}
