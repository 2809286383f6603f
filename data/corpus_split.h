#ifndef DATA_CORPUS_SPLIT_H_
#define DATA_CORPUS_SPLIT_H_

#include <cstdint>

#include "data/token_stream.h"

namespace moe {

struct CorpusSplit {
  TokenStream train;
  TokenStream valid;
  bool inside_document = false;  // the cut
};

// Cuts a stream of all of a dataset's tokens in two, by nothing but their
// order, so that the end is held out. Where that cannot be, and with fraction
// 0, valid is empty. A sample takes sequence_length + 1 tokens, the last of
// which is the next one's first.

// kTokens. As many samples as come nearest to `fraction` of all, at least one;
// one stays in train. The cut is where a document begins if one does up to half
// a sample before these, else inside a document. Fewer tokens than two samples
// take are not cut.
CorpusSplit SplitTokens(const TokenStream& all, double fraction,
                        int64_t sequence_length);

// kDocuments. The last `fraction` of the documents' number (rounded), at least
// one and never all, and more where these do not hold one sample. Of a single
// document the last tokens, at least one sample's, if as many stay.
CorpusSplit SplitDocuments(const IndexedDataset& dataset, double fraction,
                           int64_t sequence_length, int bos_id, int vocab_size);

}  // namespace moe

#endif  // DATA_CORPUS_SPLIT_H_
