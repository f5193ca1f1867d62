from korag.analysis.settings import BM25 as BM25
from korag.analysis.tokenizers import KiwiTokenizer as KiwiTokenizer
from korag.collection import Collection as Collection
from korag.collection import Hit as Hit
from korag.collection import SearchOptions as SearchOptions
from korag.collection.qdrant.collection import QdrantCollection as QdrantCollection
from korag.encoders.dense import DenseEncoder as DenseEncoder
from korag.encoders.load import load_encoder as load_encoder
from korag.encoders.multi_vector import LateInteractionEncoder as LateInteractionEncoder
from korag.encoders.sparse import SparseEncoder as SparseEncoder
from korag.errors import KoragError as KoragError
from korag.evaluation.fitting import fit_fusion as fit_fusion
from korag.fusion import Fusion as Fusion
from korag.fusion import anchored_fusion as anchored_fusion
from korag.fusion import reciprocal_rank_fusion as reciprocal_rank_fusion
from korag.fusion import weighted_fusion as weighted_fusion
from korag.pruning.pruner import Pruner as Pruner
from korag.remote.options import ServerOptions as ServerOptions
from korag.reranking.colbert import Reranker as Reranker
from korag.reranking.cross_encoder import CrossEncoderReranker as CrossEncoderReranker
from korag.reranking.load import load_reranker as load_reranker
from korag.scoring import maxsim as maxsim

__version__: str
