# What this project uses of diffusers, typed as it behaves: from_pretrained returns a model, not model | tuple | None.
# Type checkers read this folder in place of the package; at run time it does not exist.
from .models import AutoencoderKL as AutoencoderKL
from .models import ControlNetModel as ControlNetModel
from .models import UNet2DConditionModel as UNet2DConditionModel
from .pipelines import AutoPipelineForText2Image as AutoPipelineForText2Image
from .pipelines.pipeline_utils import DiffusionPipeline as DiffusionPipeline
from .pipelines.stable_diffusion import StableDiffusionPipeline as StableDiffusionPipeline
from .pipelines.stable_diffusion_xl import StableDiffusionXLPipeline as StableDiffusionXLPipeline
from .schedulers import DDIMScheduler as DDIMScheduler
from .schedulers import DDPMScheduler as DDPMScheduler
from .schedulers import DPMSolverMultistepScheduler as DPMSolverMultistepScheduler
from .schedulers import EulerDiscreteScheduler as EulerDiscreteScheduler
from .schedulers import PNDMScheduler as PNDMScheduler
from .schedulers import SchedulerMixin as SchedulerMixin
from .schedulers import UniPCMultistepScheduler as UniPCMultistepScheduler

__version__: str
