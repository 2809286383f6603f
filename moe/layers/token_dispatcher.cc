#include "moe/layers/token_dispatcher.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/activity.h"
#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"
#include "comm/trace.h"

namespace moe {
namespace {

constexpr DType kIndex = DType::kInt32;
constexpr char kExchange[] = "exchange of token rows";
// One for each rank; on the stack for groups up to this size.
using CountsP = absl::InlinedVector<int64_t, 64>;

}  // namespace

void ReturningRows::Progress() const {
  if (work != nullptr) work->Test();
}

absl::Status ReturningRows::Wait() const {
  if (work == nullptr) return absl::OkStatus();
  return Annotate(work->Wait(), kExchange);
}

void ReturningGradients::Progress() const {
  rows.Progress();
  weights.Progress();
}

TokenDispatcher::TokenDispatcher(const ProcessGroups& groups,
                                 int64_t num_experts)
    : group_(groups[Axis::kExpert]),
      rows_group_(groups.device(Axis::kExpert)),
      num_experts_(num_experts),
      num_local_experts_(num_experts / group_.size()) {
  CHECK(num_local_experts_ * group_.size() == num_experts);
}

absl::Status TokenDispatcher::MakePlan(LayerContext& context,
                                       DispatchPlan& plan,
                                       const Tensor& dispatched_ids_TK) const {
  ASSIGN_OR_RETURN(HostCopy counts_E,
                   StartPlan(context, plan, dispatched_ids_TK));
  return FinishPlan(context, plan, std::move(counts_E));
}

absl::StatusOr<HostCopy> TokenDispatcher::StartPlan(
    LayerContext& context, DispatchPlan& plan,
    const Tensor& dispatched_ids_TK) const {
  ASSIGN_OR_RETURN(const Tensor counts_E,
                   Sort(context, plan, dispatched_ids_TK));
  plan.num_sent_rows = dispatched_ids_TK.size();
  return context.kernels.context().StartCopy(counts_E.View());
}

absl::Status TokenDispatcher::FinishPlan(LayerContext& context,
                                         DispatchPlan& plan,
                                         HostCopy counts_E) const {
  RETURN_IF_ERROR(counts_E.Wait());
  const absl::Span<const int64_t> counts = counts_E.values<int64_t>();
  plan.counts_E.assign(counts.begin(), counts.end());
  CountLeaving(plan, group_.size());
  RETURN_IF_ERROR(ExchangeCounts(plan));
  return OrderRows(context, plan);
}

absl::Status TokenDispatcher::RemakePlan(
    LayerContext& context, DispatchPlan& plan,
    const Tensor& dispatched_ids_TK) const {
  RETURN_IF_ERROR(Sort(context, plan, dispatched_ids_TK).status());
  return OrderRows(context, plan);
}

absl::StatusOr<Tensor> TokenDispatcher::Sort(
    LayerContext& context, DispatchPlan& plan,
    const Tensor& dispatched_ids_TK) const {
  const int64_t T = dispatched_ids_TK.dim(0);
  const int64_t K = dispatched_ids_TK.dim(1);
  Arena& saved = context.saved;
  ASSIGN_OR_RETURN(plan.choice_of_row_N, saved.Allocate({T * K}, kIndex));
  ASSIGN_OR_RETURN(plan.token_of_row_N, saved.Allocate({T * K}, kIndex));
  ASSIGN_OR_RETURN(plan.row_of_choice_TK, saved.Allocate({T, K}, kIndex));
  ASSIGN_OR_RETURN(const Tensor counts_E,
                   saved.Allocate({num_experts_}, DType::kInt64));
  context.kernels.SortChoices(plan.choice_of_row_N, plan.token_of_row_N,
                              plan.row_of_choice_TK, counts_E,
                              dispatched_ids_TK);
  return counts_E;
}

absl::Status TokenDispatcher::OrderRows(LayerContext& context,
                                        DispatchPlan& plan) const {
  Arena& saved = context.saved;
  plan.choice_of_row_N = plan.choice_of_row_N.Rows(0, plan.num_sent_rows);
  plan.token_of_row_N = plan.token_of_row_N.Rows(0, plan.num_sent_rows);
  plan.arrival_of_row_R = Tensor();
  plan.row_of_arrival_R = Tensor();
  if (group_.size() == 1 || num_local_experts_ == 1) return absl::OkStatus();
  const int64_t R = plan.num_received_rows;
  ASSIGN_OR_RETURN(plan.arrival_of_row_R, saved.Allocate({R}, kIndex));
  ASSIGN_OR_RETURN(plan.row_of_arrival_R, saved.Allocate({R}, kIndex));
  context.kernels.OrderArrivals(plan.arrival_of_row_R, plan.row_of_arrival_R,
                                plan.counts_Pe, num_local_experts_);
  return context.kernels.status();  // Rows are looked up by it at once.
}

absl::Status TokenDispatcher::ExchangeCounts(DispatchPlan& plan) const {
  const PhaseScope phase(Phase::kRowCounts);
  PackCounts(plan);
  const size_t P = static_cast<size_t>(group_.size());
  const CountsP counts(P, num_local_experts_ + kCountsHeader);
  RETURN_IF_ERROR(Annotate(
      group_.AllToAllV(ViewOf(absl::MakeConstSpan(plan.sent_counts)), counts,
                       ViewOf(absl::MakeSpan(plan.received_counts)), counts),
      "exchange of row counts"));
  RETURN_IF_ERROR(TakeCounts(plan));
  TraceNumber("rows_sent", plan.num_sent_rows);
  TraceNumber("rows_received", plan.num_received_rows);
  return absl::OkStatus();
}

void TokenDispatcher::PackCounts(DispatchPlan& plan) const {
  const size_t P = static_cast<size_t>(group_.size());
  const size_t e = static_cast<size_t>(num_local_experts_);
  const size_t stride = e + kCountsHeader;
  const Position position = CurrentPosition();
  plan.sent_counts.resize(P * stride);
  plan.received_counts.resize(P * stride);
  for (size_t p = 0; p < P; ++p) {
    int64_t* message = &plan.sent_counts[p * stride];
    message[0] = position.step;
    message[1] = position.layer;
    message[2] = plan.send_rows_P[p];
    std::copy_n(&plan.counts_E[p * e], e, message + kCountsHeader);
  }
}

absl::Status TokenDispatcher::TakeCounts(DispatchPlan& plan) const {
  const size_t P = static_cast<size_t>(group_.size());
  const size_t e = static_cast<size_t>(num_local_experts_);
  plan.counts_Pe.resize(P * e);
  for (size_t p = 0; p < P; ++p) {
    RETURN_IF_ERROR(CheckCounts(plan, static_cast<int>(p)));
    const int64_t* message = &plan.received_counts[p * (e + kCountsHeader)];
    std::copy_n(message + kCountsHeader, e, &plan.counts_Pe[p * e]);
  }
  CountArriving(plan, group_.size());
  return absl::OkStatus();
}

// Before the rows themselves move: a rank that is somewhere else must not have
// its rows taken for others.
absl::Status TokenDispatcher::CheckCounts(const DispatchPlan& plan,
                                          int source) const {
  const int64_t e = num_local_experts_;
  const int64_t* message =
      &plan.received_counts[static_cast<size_t>(source * (e + kCountsHeader))];
  const int64_t* counts_e = message + kCountsHeader;
  const Position position = CurrentPosition();
  if (message[0] != position.step || message[1] != position.layer) {
    return absl::InternalError(absl::StrCat(
        "rank ", source, " of group ", group_.name(),
        " sends row counts of step ", message[0], ", layer ", message[1],
        " to rank ", group_.rank(), ", which is in ", ToString(position)));
  }
  const int64_t sum = std::accumulate(counts_e, counts_e + e, int64_t{0});
  const bool negative = std::any_of(counts_e, counts_e + e,
                                    [](int64_t count) { return count < 0; });
  if (sum == message[2] && !negative) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "rank ", source, " of group ", group_.name(), " sends row counts [",
      absl::StrJoin(absl::MakeConstSpan(counts_e, static_cast<size_t>(e)),
                    ", "),
      "], must be at least 0 and sum to ", message[2], " (", ToString(position),
      ")"));
}

absl::StatusOr<int64_t> TokenDispatcher::NumChunks(const DispatchPlan& plan,
                                                   int64_t max_rows) const {
  if (max_rows == 0) return 1;
  const PhaseScope phase(Phase::kDispatch);
  int64_t chunks =
      std::max<int64_t>(1, CeilDiv(plan.num_received_rows, max_rows));
  RETURN_IF_ERROR(Annotate(
      group_.AllReduce(ViewOf(absl::MakeSpan(&chunks, 1)), ReduceOp::kMax),
      "number of parts of a dispatch"));
  return chunks;
}

absl::StatusOr<Tensor> TokenDispatcher::ChunkIds(
    LayerContext& context, const Tensor& dispatched_ids_TK,
    const DispatchPlan& plan, int64_t chunk, int64_t num_chunks) const {
  ASSIGN_OR_RETURN(
      Tensor ids_TK,
      context.scratch.Allocate(
          {dispatched_ids_TK.dim(0), dispatched_ids_TK.dim(1)}, kIndex));
  context.kernels.ChoicesOfChunk(
      ids_TK, dispatched_ids_TK, plan.row_of_choice_TK,
      {.rows_P = plan.send_rows_P, .chunk = chunk, .num_chunks = num_chunks});
  return ids_TK;
}

absl::Status TokenDispatcher::Dispatch(LayerContext& context, Tensor& rows_RD,
                                       Tensor& weight_R,
                                       const DispatchPlan& plan,
                                       const Tensor& x_TD,
                                       const Tensor& weights_TK) const {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const SortedRows sorted,
                   SortRows(context, plan, x_TD, weights_TK));
  return SendRows(context, rows_RD, weight_R, plan, sorted);
}

absl::StatusOr<SortedRows> TokenDispatcher::SortRows(
    LayerContext& context, const DispatchPlan& plan, const Tensor& x_TD,
    const Tensor& weights_TK) const {
  const int64_t N = plan.token_of_row_N.size();
  // With one rank the sorted rows are the result and must outlive the call.
  Arena& arena = group_.size() == 1 ? context.saved : context.scratch;
  SortedRows sorted;
  ASSIGN_OR_RETURN(sorted.rows_ND,
                   arena.Allocate({N, x_TD.dim(1)}, x_TD.dtype()));
  ASSIGN_OR_RETURN(sorted.weight_N1, arena.Allocate({N, 1}, DType::kFloat32));
  context.kernels.GatherRows(sorted.rows_ND, x_TD, plan.token_of_row_N);
  context.kernels.GatherRows(sorted.weight_N1,
                             weights_TK.Reshape({weights_TK.size(), 1}),
                             plan.choice_of_row_N);
  return sorted;
}

absl::Status TokenDispatcher::SendRows(LayerContext& context, Tensor& rows_RD,
                                       Tensor& weight_R,
                                       const DispatchPlan& plan,
                                       const SortedRows& sorted) const {
  const int64_t N = plan.num_sent_rows;
  ASSIGN_OR_RETURN(rows_RD, ToExperts(context, context.saved, plan,
                                      sorted.rows_ND.Rows(0, N)));
  const PhaseScope phase(Phase::kDispatchWeights);
  ASSIGN_OR_RETURN(Tensor weight_R1, ToExperts(context, context.saved, plan,
                                               sorted.weight_N1.Rows(0, N)));
  weight_R = weight_R1.Reshape({plan.num_received_rows});
  return absl::OkStatus();
}

absl::Status TokenDispatcher::Combine(LayerContext& context, Tensor out_TD,
                                      const DispatchPlan& plan,
                                      const Tensor& rows_RD) const {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const ReturningRows returning,
                   FromExperts(context, plan, rows_RD));
  RETURN_IF_ERROR(returning.Wait());
  context.kernels.SumRows(out_TD, returning.sorted_ND, plan.row_of_choice_TK,
                          /*accumulate=*/true);
  return absl::OkStatus();
}

absl::Status TokenDispatcher::CombineBackward(LayerContext& context,
                                              Tensor& d_rows_RD,
                                              const DispatchPlan& plan,
                                              const Tensor& d_out_TD) const {
  ASSIGN_OR_RETURN(Tensor sorted_ND, context.scratch.Allocate(
                                         {plan.num_sent_rows, d_out_TD.dim(1)},
                                         d_out_TD.dtype()));
  context.kernels.GatherRows(sorted_ND, d_out_TD, plan.token_of_row_N);
  ASSIGN_OR_RETURN(d_rows_RD,
                   ToExperts(context, context.scratch, plan, sorted_ND));
  return absl::OkStatus();
}

absl::StatusOr<ReturningGradients> TokenDispatcher::StartDispatchBackward(
    LayerContext& context, const DispatchPlan& plan, const Tensor& d_rows_RD,
    const Tensor& d_weight_R) const {
  ReturningGradients returning;
  ASSIGN_OR_RETURN(returning.rows, FromExperts(context, plan, d_rows_RD));
  const PhaseScope phase(Phase::kDispatchWeightsBackward);
  ASSIGN_OR_RETURN(
      returning.weights,
      FromExperts(context, plan,
                  d_weight_R.Reshape({plan.num_received_rows, 1})));
  return returning;
}

absl::Status TokenDispatcher::FinishDispatchBackward(
    LayerContext& context, Tensor d_x_TD, Tensor d_weights_TK,
    const DispatchPlan& plan, ReturningGradients returning,
    bool accumulate) const {
  ArenaScope scope(context.scratch);
  RETURN_IF_ERROR(returning.rows.Wait());
  context.kernels.SumRows(d_x_TD, returning.rows.sorted_ND,
                          plan.row_of_choice_TK, accumulate);
  RETURN_IF_ERROR(returning.weights.Wait());
  const int64_t num_choices = d_weights_TK.size();
  Tensor gathered_TK = d_weights_TK;
  if (accumulate) {
    ASSIGN_OR_RETURN(
        gathered_TK,
        context.scratch.Allocate({d_weights_TK.dim(0), d_weights_TK.dim(1)},
                                 DType::kFloat32));
  }
  context.kernels.GatherRows(gathered_TK.Reshape({num_choices, 1}),
                             returning.weights.sorted_ND,
                             plan.row_of_choice_TK.Reshape({num_choices}));
  if (accumulate) context.kernels.Add(d_weights_TK, gathered_TK);
  return absl::OkStatus();
}

absl::StatusOr<Tensor> TokenDispatcher::ToExperts(
    LayerContext& context, Arena& arena, const DispatchPlan& plan,
    const Tensor& sorted_ND) const {
  if (group_.size() == 1) return sorted_ND;
  const bool reorder = !plan.arrival_of_row_R.is_null();
  const int64_t R = plan.num_received_rows;
  const int64_t D = sorted_ND.dim(1);
  ASSIGN_OR_RETURN(Tensor rows_RD, arena.Allocate({R, D}, sorted_ND.dtype()));
  Tensor arrivals_RD = rows_RD;
  ArenaScope scope(context.scratch);
  if (reorder) {
    ASSIGN_OR_RETURN(arrivals_RD,
                     context.scratch.Allocate({R, D}, sorted_ND.dtype()));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Work> work,
                   StartExchange(arrivals_RD, sorted_ND, plan.receive_rows_P,
                                 plan.send_rows_P));
  RETURN_IF_ERROR(Annotate(work->Wait(), kExchange));
  if (reorder)
    context.kernels.GatherRows(rows_RD, arrivals_RD, plan.arrival_of_row_R);
  return rows_RD;
}

absl::StatusOr<ReturningRows> TokenDispatcher::FromExperts(
    LayerContext& context, const DispatchPlan& plan,
    const Tensor& rows_RD) const {
  ReturningRows returning;
  returning.sorted_ND = rows_RD;
  if (group_.size() == 1) return returning;
  const int64_t D = rows_RD.dim(1);
  ASSIGN_OR_RETURN(
      returning.sorted_ND,
      context.scratch.Allocate({plan.num_sent_rows, D}, rows_RD.dtype()));
  Tensor arrivals_RD = rows_RD;
  if (!plan.row_of_arrival_R.is_null()) {
    ASSIGN_OR_RETURN(
        arrivals_RD,
        context.scratch.Allocate({plan.num_received_rows, D}, rows_RD.dtype()));
    context.kernels.GatherRows(arrivals_RD, rows_RD, plan.row_of_arrival_R);
  }
  ASSIGN_OR_RETURN(returning.work,
                   StartExchange(returning.sorted_ND, arrivals_RD,
                                 plan.send_rows_P, plan.receive_rows_P));
  return returning;
}

absl::StatusOr<std::unique_ptr<Work>> TokenDispatcher::StartExchange(
    const Tensor& receive, const Tensor& send,
    absl::Span<const int64_t> receive_rows_P,
    absl::Span<const int64_t> send_rows_P) const {
  CountsP receive_counts(receive_rows_P.begin(), receive_rows_P.end());
  CountsP send_counts(send_rows_P.begin(), send_rows_P.end());
  for (int64_t& count : receive_counts) count *= receive.dim(1);
  for (int64_t& count : send_counts) count *= send.dim(1);
  absl::StatusOr<std::unique_ptr<Work>> work = rows_group_.StartAllToAllV(
      send.View(), send_counts, receive.View(), receive_counts);
  if (!work.ok()) return Annotate(work.status(), kExchange);
  return work;
}

}  // namespace moe
