#ifndef DATA_CORPUS_SPLIT_H_
#define DATA_CORPUS_SPLIT_H_

#include <cstdint>

#include "data/token_stream.h"

namespace moe {

struct CorpusSplit {
  TokenStream train;
  TokenStream valid;
};

// Cuts a stream of all of a dataset's documents in two, by nothing but their
// order: the last ones are held out, `fraction` of their number (rounded), at
// least one and never all, and more where these do not hold one sample's
// `min_tokens`. Of a single document the last tokens are held out, at least
// min_tokens, if as many stay. Where that cannot be, and with fraction 0, valid
// is empty.
CorpusSplit SplitDocuments(const IndexedDataset& dataset, double fraction,
                           int64_t min_tokens, int bos_id, int vocab_size);

}  // namespace moe

#endif  // DATA_CORPUS_SPLIT_H_
