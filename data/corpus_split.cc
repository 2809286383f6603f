#include "data/corpus_split.h"

#include <algorithm>
#include <cmath>

namespace moe {
namespace {

int64_t Share(double fraction, int64_t count) {
  return std::llround(fraction * static_cast<double>(count));
}

CorpusSplit SplitTokens(const TokenStream& all, double fraction,
                        int64_t min_tokens) {
  int64_t held_out = std::max(Share(fraction, all.size()), min_tokens);
  if (all.size() - held_out < min_tokens) held_out = 0;
  const int64_t kept = all.size() - held_out;
  return {all.Slice(0, kept), all.Slice(kept, held_out)};
}

}  // namespace

CorpusSplit SplitDocuments(const IndexedDataset& dataset, double fraction,
                           int64_t min_tokens, int bos_id, int vocab_size) {
  const int64_t documents = dataset.num_documents();
  const auto range = [&](int64_t first, int64_t end) {
    return TokenStream(dataset, first, end, bos_id, vocab_size);
  };
  const TokenStream all = range(0, documents);
  if (fraction == 0 || documents == 0) return {all, all.Slice(all.size(), 0)};
  if (documents == 1) return SplitTokens(all, fraction, min_tokens);
  int64_t cut = documents - std::clamp<int64_t>(Share(fraction, documents), 1,
                                                documents - 1);
  while (cut > 1 && range(cut, documents).size() < min_tokens) --cut;
  return {range(0, cut), range(cut, documents)};
}

}  // namespace moe
