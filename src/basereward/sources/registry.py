"""All sources by name."""

from basereward.data.source import Source
from basereward.registry import Registry

SOURCES: Registry[Source] = Registry(
    "source",
    {
        # Images and videos.
        "mm_rlhf": "basereward.sources.mm_rlhf:SOURCE",
        "mmif": "basereward.sources.mmif:SOURCE",
        "mmpr": "basereward.sources.mmpr:SOURCE",
        "omnialign_v_dpo": "basereward.sources.omnialign_v_dpo:SOURCE",
        "r1_reward_rl": "basereward.sources.r1_reward_rl:SOURCE",
        "rlaif_v": "basereward.sources.rlaif_v:SOURCE",
        "rlhf_v": "basereward.sources.rlhf_v:SOURCE",
        "vlfeedback": "basereward.sources.vlfeedback:SOURCE",
        # Text.
        "olmo2": "basereward.sources.olmo2:SOURCE",
        "shp": "basereward.sources.shp:SOURCE",
        "swe_arena": "basereward.sources.swe_arena:SOURCE",
        "tulu3": "basereward.sources.tulu3:SOURCE",
        "ultra_all": "basereward.sources.ultrafeedback:ULTRA_ALL",
        "ultra_hard": "basereward.sources.ultrafeedback:ULTRA_HARD",
        "wildchat": "basereward.sources.wildchat:SOURCE",
        # Prompts for reinforcement learning.
        "arxivqa": "basereward.sources.deepeyes:ARXIVQA",
        "thinklite_vl": "basereward.sources.deepeyes:THINKLITE_VL",
        "vstar": "basereward.sources.deepeyes:VSTAR",
    },
)
