#ifndef MOE_PLAN_PLAN_LOAD_H_
#define MOE_PLAN_PLAN_LOAD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/plan_group.h"
#include "comm/process_group.h"
#include "comm/traffic.h"
#include "moe/model_config.pb.h"

namespace moe {

// How the rows of a plan are spread over the experts.
enum class ExpertShare {
  // Each rank's rows go round the experts: a rank's row i is of expert i mod E,
  // as with router.force_balance. A capacity takes the same share of all ranks.
  kEven,
  // And so they leave this rank, but its own experts get twice as many from
  // each rank, or all that the capacity lets in.
  kDouble,
};

// The one place that says how many rows leave a rank and arrive at it in a
// plan, where no router chooses and no other rank exists. One micro-step, all
// layers alike.
//
// Letters: E experts, P ranks of the expert group, e = E / P experts of each.
class PlanLoad {
 public:
  // tokens_P: each rank's tokens in the micro-step. Sequences of `length`.
  PlanLoad(const ModelConfig& model, const RouterConfig& router, int64_t length,
           GroupPlace place, std::vector<int64_t> tokens_P, ExpertShare share);

  // counts[e] = rows of `tokens` tokens of this rank for each expert of all.
  void Leaving(int64_t tokens, absl::Span<int64_t> counts_E) const;
  // Rows of rank `source` for each of this rank's experts.
  void Arriving(int source, absl::Span<int64_t> counts_e) const;

 private:
  // Rows of so many tokens for one expert, at even load.
  int64_t EvenRows(int64_t tokens, int64_t expert) const;

  int64_t num_experts_;
  int64_t length_;
  int64_t rows_of_sequence_;  // that all experts together take of it
  int64_t capacity_;          // that one expert takes of it at most
  GroupPlace place_;
  std::vector<int64_t> tokens_P_;
  ExpertShare share_;
};

// An expert group of a plan. It answers the exchange of row counts, the only
// message whose content decides how a step goes on, with what the load says
// that the others send.
class PlanExpertGroup final : public PlanGroup {
 public:
  // The load outlives the group.
  PlanExpertGroup(GroupPlace place, const PlanLoad& load);

  absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) override;

 private:
  const PlanLoad& load_;
};

}  // namespace moe

#endif  // MOE_PLAN_PLAN_LOAD_H_
