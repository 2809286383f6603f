#include "data/packed_samples.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/philox.h"
#include "comm/base/status_macros.h"

namespace moe {

int64_t PackedSamples::num_samples() const {
  return std::max<int64_t>(0, (stream_.size() - 1) / sequence_length_);
}

absl::Status PackedSamples::Read(int64_t sample, absl::Span<int32_t> inputs,
                                 absl::Span<int32_t> targets,
                                 absl::Span<int32_t> positions) const {
  const size_t length = static_cast<size_t>(sequence_length_);
  CHECK(sample >= 0 && sample < num_samples());
  CHECK(inputs.size() == length && targets.size() == length);
  CHECK(positions.empty() || positions.size() == length);
  const int64_t first = sample * sequence_length_;
  RETURN_IF_ERROR(stream_.Read(first, inputs));
  std::copy(inputs.begin() + 1, inputs.end(), targets.begin());
  RETURN_IF_ERROR(stream_.Read(first + sequence_length_, targets.last(1)));
  if (!positions.empty()) SeparateDocuments(first, targets, positions);
  return absl::OkStatus();
}

void PackedSamples::SeparateDocuments(int64_t first,
                                      absl::Span<int32_t> targets,
                                      absl::Span<int32_t> positions) const {
  stream_.Positions(first, positions);
  for (size_t i = 1; i < positions.size(); ++i) {
    if (positions[i] == 0) targets[i - 1] = -1;
  }
  if (stream_.BeginsDocument(first + sequence_length_)) targets.back() = -1;
}

namespace {

// What both orders share: sources, and the numbering of all their samples.
class PackedSequence : public SampleSequence {
 public:
  explicit PackedSequence(std::vector<PackedSamples> sources)
      : sources_(std::move(sources)) {
    CHECK(!sources_.empty());
    for (const PackedSamples& source : sources_) {
      CHECK(source.num_samples() > 0);
      begins_.push_back(samples_per_epoch_);
      samples_per_epoch_ += source.num_samples();
    }
  }

  int64_t samples_per_epoch() const override { return samples_per_epoch_; }

  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    const int64_t sample = SampleAt(position);
    const auto after = std::upper_bound(begins_.begin(), begins_.end(), sample);
    const size_t source = static_cast<size_t>(after - begins_.begin()) - 1;
    return sources_[source].Read(sample - begins_[source], inputs, targets,
                                 positions);
  }

 protected:
  std::vector<PackedSamples> sources_;
  std::vector<int64_t> begins_;  // global index of each source's first sample
  int64_t samples_per_epoch_ = 0;
};

class FileOrderSequence : public PackedSequence {
 public:
  using PackedSequence::PackedSequence;

  int64_t SampleAt(int64_t position) const override {
    return position % samples_per_epoch_;
  }
};

class BlendSequence : public PackedSequence {
 public:
  BlendSequence(std::vector<PackedSamples> sources, BlendOrder order,
                uint64_t seed)
      : PackedSequence(std::move(sources)), order_(std::move(order)) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      keys_.emplace_back(seed, absl::StrCat("order of data source ", i));
    }
  }

  int64_t SampleAt(int64_t position) const override {
    const BlendOrder::Place place = order_.At(position);
    const size_t source = static_cast<size_t>(place.source);
    const int64_t size = sources_[source].num_samples();
    const std::array<uint32_t, 4> block =
        keys_[source].Block(static_cast<uint64_t>(place.index / size));
    const KeyedPermutation permutation(uint64_t{block[0]} << 32 | block[1],
                                       static_cast<uint64_t>(size));
    const uint64_t sample =
        permutation(static_cast<uint64_t>(place.index % size));
    return begins_[source] + static_cast<int64_t>(sample);
  }

 private:
  BlendOrder order_;
  std::vector<Philox> keys_;  // of each source's passes
};

}  // namespace

absl::StatusOr<std::unique_ptr<SampleSequence>> ShuffledBlend(
    std::vector<PackedSamples> sources, absl::Span<const double> weights,
    uint64_t seed) {
  CHECK(sources.size() == weights.size());
  ASSIGN_OR_RETURN(BlendOrder order, BlendOrder::Create(weights));
  return std::make_unique<BlendSequence>(std::move(sources), std::move(order),
                                         seed);
}

std::unique_ptr<SampleSequence> FileOrder(std::vector<PackedSamples> sources) {
  return std::make_unique<FileOrderSequence>(std::move(sources));
}

}  // namespace moe
