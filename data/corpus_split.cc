#include "data/corpus_split.h"

#include <algorithm>
#include <cmath>

namespace moe {
namespace {

int64_t Share(double fraction, int64_t count) {
  return std::llround(fraction * static_cast<double>(count));
}

CorpusSplit CutAt(const TokenStream& all, int64_t cut) {
  const int64_t held_out = all.size() - cut;
  return {all.Slice(0, cut), all.Slice(cut, held_out),
          held_out > 0 && !all.BeginsDocument(cut)};
}

CorpusSplit SplitOneDocument(const TokenStream& all, double fraction,
                             int64_t min_tokens) {
  int64_t held_out = std::max(Share(fraction, all.size()), min_tokens);
  if (all.size() - held_out < min_tokens) held_out = 0;
  return CutAt(all, all.size() - held_out);
}

}  // namespace

CorpusSplit SplitTokens(const TokenStream& all, double fraction,
                        int64_t sequence_length) {
  const int64_t most = (all.size() - 2) / sequence_length - 1;
  if (fraction == 0 || most < 1) return CutAt(all, all.size());
  const double share = fraction * static_cast<double>(all.size() - 1) /
                       static_cast<double>(sequence_length);
  const int64_t samples = std::clamp<int64_t>(std::llround(share), 1, most);
  const int64_t last = all.size() - (samples * sequence_length + 1);
  // So that train keeps a sample, no more than `samples` fit into valid, and
  // what is held out is not more than one above the share of the tokens.
  const int64_t first = std::max(
      {sequence_length + 1, last - sequence_length / 2,
       all.size() - sequence_length - 1 -
           static_cast<int64_t>(fraction * static_cast<double>(all.size()))});
  const int64_t begin = last - all.PositionOf(last);
  return CutAt(all, begin >= first ? begin : last);
}

CorpusSplit SplitDocuments(const IndexedDataset& dataset, double fraction,
                           int64_t sequence_length, int bos_id,
                           int vocab_size) {
  const int64_t min_tokens = sequence_length + 1;
  const int64_t documents = dataset.num_documents();
  const auto range = [&](int64_t first, int64_t end) {
    return TokenStream(dataset, first, end, bos_id, vocab_size);
  };
  const TokenStream all = range(0, documents);
  if (fraction == 0 || documents == 0) return CutAt(all, all.size());
  if (documents == 1) return SplitOneDocument(all, fraction, min_tokens);
  int64_t cut = documents - std::clamp<int64_t>(Share(fraction, documents), 1,
                                                documents - 1);
  while (cut > 1 && range(cut, documents).size() < min_tokens) --cut;
  return {range(0, cut), range(cut, documents)};
}

}  // namespace moe
