#ifndef DATA_CORPUS_DIGEST_H_
#define DATA_CORPUS_DIGEST_H_

#include <vector>

#include "absl/status/statusor.h"
#include "data/corpus.h"
#include "data/tokens_digest.h"

namespace moe {

// What a run's data are, whatever they are called: each source of a blend, in
// order. The tokens of a text count, so that neither its form nor its cache
// matters.
struct CorpusDigest {
  std::vector<TokensDigest> train;
  std::vector<TokensDigest> valid;  // of data.valid

  friend bool operator==(const CorpusDigest&, const CorpusDigest&) = default;
};

// Of prepared data. A digest that is stored beside the tokens or in the cache
// directory is taken from there. With `store` one that had to be read is stored
// in the cache directory, which is made; without it nothing is written. One
// rank calls it: 4 GiB of each source may be read. Errors of FindSources,
// TokensPrefix and FindTokensDigest.
absl::StatusOr<CorpusDigest> DigestCorpus(const CorpusOptions& options,
                                          bool store);

}  // namespace moe

#endif  // DATA_CORPUS_DIGEST_H_
