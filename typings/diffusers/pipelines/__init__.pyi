from typing import Any

class AutoPipelineForText2Image:
    @classmethod
    def from_pretrained(cls, source: Any, **settings: Any) -> Any: ...
