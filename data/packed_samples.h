#ifndef DATA_PACKED_SAMPLES_H_
#define DATA_PACKED_SAMPLES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/blend_order.h"
#include "data/corpus.h"
#include "data/token_stream.h"

namespace moe {

// A stream of N tokens as (N - 1) / L samples: sample i is tokens
// [i L, i L + L] of it, of which the first L are inputs and the last L targets.
// Documents are packed one behind another; nothing is padded, and less than
// L tokens at the end are not used. Read is SampleSequence's.
class PackedSamples {
 public:
  PackedSamples(const TokenStream& stream, int64_t sequence_length)
      : stream_(stream), sequence_length_(sequence_length) {}

  int64_t num_samples() const;
  absl::Status Read(int64_t sample, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const;

 private:
  void SeparateDocuments(int64_t first, absl::Span<int32_t> targets,
                         absl::Span<int32_t> positions) const;

  TokenStream stream_;
  int64_t sequence_length_;
};

// Sources blended by weight. Every pass over a source is a permutation of its
// samples, keyed by (seed, source, pass). A global index is a sample's number
// when the sources' samples are counted one source after another; one pass is
// as many samples as the sources have together.
//
// At least one source; each has at least one sample. InvalidArgument: errors of
// BlendOrder.
absl::StatusOr<std::unique_ptr<SampleSequence>> ShuffledBlend(
    std::vector<PackedSamples> sources, absl::Span<const double> weights,
    uint64_t seed);

// The sources one after another, each in file order, then from the start.
std::unique_ptr<SampleSequence> FileOrder(std::vector<PackedSamples> sources);

}  // namespace moe

#endif  // DATA_PACKED_SAMPLES_H_
