#include "moe/layers/dispatch_plan.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/types/span.h"

namespace moe {
namespace {

int64_t Sum(absl::Span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

// counts[e]: rows of one rank for another, sorted by expert. Keeps those of the
// chunk.
void KeepChunk(absl::Span<int64_t> counts_e, int64_t chunk,
               int64_t num_chunks) {
  const int64_t rows = Sum(counts_e);
  const int64_t begin = rows * chunk / num_chunks;
  const int64_t end = rows * (chunk + 1) / num_chunks;
  int64_t first = 0;  // row of the expert
  for (int64_t& count : counts_e) {
    const int64_t last = first + count;
    count = std::max<int64_t>(0, std::min(end, last) - std::max(begin, first));
    first = last;
  }
}

}  // namespace

void CountLeaving(DispatchPlan& plan, int num_ranks) {
  const auto P = static_cast<size_t>(num_ranks);
  const size_t e = plan.counts_E.size() / P;
  plan.send_rows_P.resize(P);
  for (size_t p = 0; p < P; ++p)
    plan.send_rows_P[p] =
        Sum(absl::MakeConstSpan(plan.counts_E).subspan(p * e, e));
  plan.num_sent_rows = Sum(plan.send_rows_P);
}

void CountArriving(DispatchPlan& plan, int num_ranks) {
  const auto P = static_cast<size_t>(num_ranks);
  const size_t e = plan.counts_Pe.size() / P;
  plan.receive_rows_P.resize(P);
  plan.expert_offsets.assign(e + 1, 0);
  for (size_t p = 0; p < P; ++p) {
    const auto counts_e = absl::MakeConstSpan(plan.counts_Pe).subspan(p * e, e);
    plan.receive_rows_P[p] = Sum(counts_e);
    for (size_t i = 0; i < e; ++i) plan.expert_offsets[i + 1] += counts_e[i];
  }
  std::partial_sum(plan.expert_offsets.begin(), plan.expert_offsets.end(),
                   plan.expert_offsets.begin());
  plan.num_received_rows = plan.expert_offsets[e];
}

DispatchPlan ChunkOf(const DispatchPlan& whole, int64_t chunk,
                     int64_t num_chunks) {
  const size_t P = whole.send_rows_P.size();
  const size_t e = whole.counts_E.size() / P;
  DispatchPlan plan;
  plan.counts_E = whole.counts_E;
  plan.counts_Pe = whole.counts_Pe;
  for (size_t p = 0; p < P; ++p) {
    KeepChunk(absl::MakeSpan(plan.counts_E).subspan(p * e, e), chunk,
              num_chunks);
    KeepChunk(absl::MakeSpan(plan.counts_Pe).subspan(p * e, e), chunk,
              num_chunks);
  }
  CountLeaving(plan, static_cast<int>(P));
  CountArriving(plan, static_cast<int>(P));
  return plan;
}

}  // namespace moe
