from korag.splitting.chunks import Chunk as Chunk
from korag.splitting.splitter import Splitter as Splitter
from korag.splitting.splitter import split as split
