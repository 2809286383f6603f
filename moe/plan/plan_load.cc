#include "moe/plan/plan_load.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "comm/base/check.h"
#include "comm/mesh.h"
#include "moe/layers/token_dispatcher.h"
#include "moe/model_config.h"

namespace moe {
namespace {

int64_t Sum(absl::Span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

PlanLoad::PlanLoad(const ModelConfig& model, const RouterConfig& router,
                   int64_t length, GroupPlace place,
                   std::vector<int64_t> tokens_P, ExpertShare share)
    : num_experts_(model.num_local_experts()),
      length_(length),
      rows_of_sequence_(EvenRowsOfSequence(model, router, length)),
      capacity_(ExpertCapacity(model, router, length)),
      place_(place),
      tokens_P_(std::move(tokens_P)),
      share_(share) {
  CHECK(tokens_P_.size() == static_cast<size_t>(place.size));
  CHECK(num_experts_ % place.size == 0);
}

void PlanLoad::Leaving(int64_t tokens, absl::Span<int64_t> counts_E) const {
  CHECK(counts_E.size() == static_cast<size_t>(num_experts_));
  for (size_t i = 0; i < counts_E.size(); ++i)
    counts_E[i] = EvenRows(tokens, static_cast<int64_t>(i));
}

void PlanLoad::Arriving(int source, absl::Span<int64_t> counts_e) const {
  const auto e = static_cast<int64_t>(counts_e.size());
  CHECK(e * place_.size == num_experts_);
  const int64_t tokens = tokens_P_[static_cast<size_t>(source)];
  // A token has one row at most for an expert.
  const int64_t most = tokens * capacity_ / length_;
  for (int64_t i = 0; i < e; ++i) {
    const int64_t even = EvenRows(tokens, place_.rank * e + i);
    counts_e[static_cast<size_t>(i)] =
        share_ == ExpertShare::kEven ? even
                                     : std::max(even, std::min(2 * even, most));
  }
}

int64_t PlanLoad::EvenRows(int64_t tokens, int64_t expert) const {
  const int64_t rows = tokens * rows_of_sequence_ / length_;
  return rows / num_experts_ + (expert < rows % num_experts_ ? 1 : 0);
}

PlanExpertGroup::PlanExpertGroup(GroupPlace place, const PlanLoad& load)
    : PlanGroup(Name(Axis::kExpert), place), load_(load) {}

absl::StatusOr<std::unique_ptr<Work>> PlanExpertGroup::StartAllToAllV(
    ConstMemoryView send, absl::Span<const int64_t> send_counts,
    MemoryView receive, absl::Span<const int64_t> receive_counts) {
  // Rows are of other dtypes, and lie where nobody may write.
  if (send.dtype == DType::kInt64) {
    const auto stride =
        static_cast<size_t>(send.count) / static_cast<size_t>(size());
    const size_t header = kCountsHeader;
    const auto* own = static_cast<const int64_t*>(send.data);
    auto* message = static_cast<int64_t*>(receive.data);
    for (int source = 0; source < size(); ++source, message += stride) {
      const absl::Span<int64_t> counts_e(message + header, stride - header);
      load_.Arriving(source, counts_e);
      // Step and layer are this rank's, the sum the counts'.
      std::copy_n(own, header - 1, message);
      message[header - 1] = Sum(counts_e);
    }
  }
  return PlanGroup::StartAllToAllV(send, send_counts, receive, receive_counts);
}

}  // namespace moe
