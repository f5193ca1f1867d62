from korag.distributed.encoding import EncodeDocuments as EncodeDocuments
from korag.distributed.texts import EncodedTexts as EncodedTexts
from korag.distributed.texts import add_encoded_texts as add_encoded_texts
