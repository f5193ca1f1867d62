from korag.plaid.index import PlaidIndex as PlaidIndex
