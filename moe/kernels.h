#ifndef MOE_KERNELS_H_
#define MOE_KERNELS_H_

// The mathematics of the network, one interface for every device: cpu/ and
// cuda/ hold files of the same names, each with methods of its own class.
//
// Tensors lie in memory of the device; spans are the host's, and read before a
// call returns. A kernel may run later than its call: numbers that it gives
// come in tensors, which the caller copies to the host (DeviceContext).
//
// Conventions. Outputs come first, by value (a Tensor is a view); inputs by
// const reference. "compute" is the run's compute dtype, float32 or bfloat16;
// everything else is float32 unless said. All sums accumulate in float32 or
// wider. Outputs are overwritten unless marked +=. Nothing aliases unless a
// comment allows it. A dim of zero is an ordinary case and does nothing.
// Results depend on shapes, values and the number of threads, never on time.
//
// Errors of a library are kept (Kernels::status), the first one wins; callers
// look once per pass.
//
// Letters: T tokens, B sequences of L tokens (T = B L), D model width, V
// vocabulary, H heads, G key/value heads, d head width, E experts, K experts
// per token, N rows leaving, R rows at the experts, F expert hidden width, I
// inputs and O outputs of a linear map, e experts of this rank.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/device_context.h"
#include "moe/tensor.h"

namespace moe {

// A token's row of qkv holds H query, G key and G value heads of width d, in
// this order: C = (H + 2 G) d. Query head h reads key/value head h G / H.
// Attention is causal inside each sequence of L tokens; T is a multiple of L.
//
// A sequence may hold several documents that do not see each other. Then
// positions_T, int32, counts the tokens of each document from 0, those of a
// document that began before the sequence from the sequence's first, and token
// t reads keys t - positions[t] to t. Null: a sequence is one document,
// positions are t % L.
struct AttentionShape {
  int64_t length = 0;    // L
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // G
  int64_t head_dim = 0;  // d, even
};

struct TopKOptions {
  int num_experts_per_token = 2;  // K
  bool renormalize = true;        // weights of a token sum to 1
  // Benchmarks only: token t's choice k is expert (t K + k) % E.
  bool force_balance = false;
};

struct CapacityOptions {
  int64_t num_experts = 0;  // E
  int64_t capacity = 0;     // choices that an expert keeps of a sequence
  int64_t first_token = 0;  // of the T in the S
  int64_t length = 0;       // L
};

// The choices of one part of `num_chunks`, the others being -1. Each
// destination's rows, `rows_P` of them one destination after another, are cut
// into parts of equal length but for one row.
struct ChunkOptions {
  absl::Span<const int64_t> rows_P;
  int64_t chunk = 0;
  int64_t num_chunks = 1;
};

struct AdamWOptions {
  double learning_rate = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;
  double gradient_scale = 1;  // from clipping
  int64_t update = 1;         // counted from 1, for the bias correction
};

// On the host: table[p, 0, i] = cos(p theta^(-2 i / d)), table[p, 1, i] = sin
// of the same, angles in double; rotary embedding of Su et al., 2021, in the
// half-split form: elements i and i + d/2 are one pair. h = d / 2 elements.
void RotaryTable(absl::Span<float> table_L2h, int64_t half_width, double theta);

// The kernels of one device and what they keep between calls: threads, streams,
// primitives made once, scratch memory. One a process; called from one thread.
class Kernels {
 public:
  virtual ~Kernels() = default;

  // The device whose memory their tensors lie in.
  virtual DeviceContext& context() const = 0;

  // The first error of a library since the kernels were made.
  virtual absl::Status status() const = 0;

  // Names of the implementations behind all matrix products made so far
  // ("brg:avx512_core", "gemm:jit", ...); a test refuses "ref".
  virtual std::vector<std::string> MatMulImplementations() const = 0;

  // --- linear maps: weights are [O, I] as in torch.nn.Linear ----------------

  // y (+)= x w^T. x and w compute or both float32; y the same or float32.
  virtual void LinearForward(Tensor y_TO, const Tensor& x_TI,
                             const Tensor& w_OI, bool accumulate) = 0;

  // d_x (+)= d_y w. d_y and w of one dtype; d_x the same or float32.
  virtual void LinearInputGradient(Tensor d_x_TI, const Tensor& d_y_TO,
                                   const Tensor& w_OI, bool accumulate) = 0;

  // d_w += d_y^T x, in float32. d_y and x of one dtype.
  virtual void LinearWeightGradient(Tensor d_w_OI, const Tensor& d_y_TO,
                                    const Tensor& x_TI) = 0;

  // The same for e experts side by side: rows [offsets[i], offsets[i + 1]) of
  // x and y belong to expert i; offsets has e + 1 elements, from 0 to R. Any
  // expert may have none or all of the rows.
  virtual void GroupedLinearForward(Tensor y_RO, const Tensor& x_RI,
                                    const Tensor& w_eOI,
                                    absl::Span<const int64_t> offsets) = 0;
  virtual void GroupedLinearInputGradient(
      Tensor d_x_RI, const Tensor& d_y_RO, const Tensor& w_eOI,
      absl::Span<const int64_t> offsets) = 0;
  virtual void GroupedLinearWeightGradient(
      Tensor d_w_eOI, const Tensor& d_y_RO, const Tensor& x_RI,
      absl::Span<const int64_t> offsets) = 0;

  // --- normalisation (Zhang and Sennrich, "Root mean square layer
  // normalization", 2019) ----------------------------------------------------

  // r = 1 / sqrt(mean(x^2) + epsilon), y = x r w. x float32, y compute.
  virtual void RmsNormForward(Tensor y_TD, Tensor inverse_rms_T,
                              const Tensor& x_TD, const Tensor& w_D,
                              float epsilon) = 0;

  // d_x += r (d_y w) - x r^3 mean(d_y w x), d_w += sum_T d_y x r.
  // d_y compute, d_x and d_w float32. A null d_w is left out.
  virtual void RmsNormBackward(Tensor d_x_TD, Tensor d_w_D,
                               const Tensor& d_y_TD, const Tensor& x_TD,
                               const Tensor& w_D,
                               const Tensor& inverse_rms_T) = 0;

  // --- attention -------------------------------------------------------------

  // Rotates the query and key heads of qkv in place by their position's angle,
  // or back if `inverse`, which is also the gradient.
  virtual void Rotary(Tensor qkv_TC, const Tensor& table_L2h,
                      const Tensor& positions_T, const AttentionShape& shape,
                      bool inverse) = 0;

  // y = softmax(q k^T / sqrt(d)) v in blocks, never L x L at once (Dao et al.,
  // "FlashAttention", 2022). log_sum_exp[h, t] float32 is for backward; y and
  // qkv compute.
  virtual void AttentionForward(Tensor y_TA, Tensor log_sum_exp_HT,
                                const Tensor& qkv_TC, const Tensor& positions_T,
                                const AttentionShape& shape) = 0;  // A = H d

  // d_qkv from d_y, the forward's inputs and outputs.
  virtual void AttentionBackward(Tensor d_qkv_TC, const Tensor& d_y_TA,
                                 const Tensor& qkv_TC, const Tensor& y_TA,
                                 const Tensor& log_sum_exp_HT,
                                 const Tensor& positions_T,
                                 const AttentionShape& shape) = 0;

  // --- embedding and loss ----------------------------------------------------

  // The vocabulary may be cut into slices: here V is one slice's, of the pieces
  // [first_id, first_id + V). ids and targets are of the whole vocabulary.

  // x[t] = w[ids[t] - first_id], or 0 where that piece is in another slice. ids
  // int32, w compute, x float32.
  virtual void EmbeddingForward(Tensor x_TD, const Tensor& ids_T,
                                const Tensor& w_VD, int64_t first_id) = 0;
  // d_w[ids[t] - first_id] += d_x[t] for the pieces of this slice, tokens in
  // order. d_x and d_w float32.
  virtual void EmbeddingBackward(Tensor d_w_VD, const Tensor& d_x_TD,
                                 const Tensor& ids_T, int64_t first_id) = 0;

  // Cross-entropy log sum_v exp z[t, v] - z[t, target[t]], in three steps so
  // that slices can be put together. A target of -1 is none: its loss and
  // gradient are 0. All float32 but d_logits, which is compute.

  // A slice's statistics[t]: the largest z, the sum of exp(z - largest), and z
  // at the target, 0 if that is in another slice.
  virtual void LogitStatistics(Tensor statistics_T3, const Tensor& logits_TV,
                               const Tensor& targets_T, int64_t first_id) = 0;
  // Statistics of the whole from those of P slices, in their order.
  virtual void MergeLogitStatistics(Tensor statistics_T3,
                                    const Tensor& slices_PT3) = 0;
  // loss += the tokens' losses, in order. loss_1 float64.
  virtual void CrossEntropyLoss(Tensor loss_1, const Tensor& statistics_T3,
                                const Tensor& targets_T) = 0;
  // d_logits = (softmax(z) - onehot(target)) scale; it may be `logits` itself.
  virtual void CrossEntropyGradient(Tensor d_logits_TV, const Tensor& logits_TV,
                                    const Tensor& statistics_T3,
                                    const Tensor& targets_T, int64_t first_id,
                                    float scale) = 0;

  // --- routing ---------------------------------------------------------------

  // p = softmax(logits) over E; the K largest, in falling order, ties to the
  // lower expert; weights p or p / sum of the chosen. log_sum_exp[t] of the
  // logits, for the z-loss. expert_ids int32.
  virtual void RouterTopK(Tensor probabilities_TE, Tensor expert_ids_TK,
                          Tensor weights_TK, Tensor log_sum_exp_T,
                          const Tensor& logits_TE,
                          const TopKOptions& options) = 0;

  // The T tokens stand at [first_token, first_token + T) of B sequences of L;
  // token t's sequence is b(t) = (first_token + t) / L.

  // counts[b, e] = choices of expert e by these tokens of sequence b (as
  // float32, exact), and probability_sums[b, e] = sum of their p.
  virtual void ExpertLoad(Tensor counts_BE, Tensor probability_sums_BE,
                          const Tensor& expert_ids_TK,
                          const Tensor& probabilities_TE, int64_t first_token,
                          int64_t length) = 0;

  // sum = sum_t probabilities[t, expert_ids[t, 0]], float64, tokens in order.
  virtual void SumOfFirstChoices(Tensor sum_1, const Tensor& probabilities_TE,
                                 const Tensor& expert_ids_TK) = 0;

  // chosen[t, k] = probabilities[t, expert_ids[t, k]]: p of the choices, before
  // they are renormalised.
  virtual void ChosenProbabilities(Tensor chosen_TK,
                                   const Tensor& probabilities_TE,
                                   const Tensor& expert_ids_TK) = 0;

  // Of each sequence an expert keeps the `capacity` choices with the largest p
  // (chosen_SK), of equal ones the earlier tokens'; where chosen_SK is null,
  // the first in token order. kept = expert_ids, or -1 where the choice is
  // dropped. The inputs are of all S tokens of whole sequences, the output of T
  // of them. A p that is not a number counts as less than any other.
  virtual void ApplyCapacity(Tensor kept_ids_TK, const Tensor& expert_ids_SK,
                             const Tensor& chosen_SK,
                             const CapacityOptions& options) = 0;

  // d_logits of: the routing weights (d_weights), the auxiliary loss
  // (sum_t sum_e balance[b(t), e] p[t, e]) and the z-loss
  // (z_scale sum_t log_sum_exp[t]^2).
  virtual void RouterBackward(
      Tensor d_logits_TE, const Tensor& d_weights_TK, const Tensor& balance_BE,
      const Tensor& probabilities_TE, const Tensor& expert_ids_TK,
      const Tensor& weights_TK, const Tensor& log_sum_exp_T, float z_scale,
      int64_t first_token, int64_t length, bool renormalize) = 0;

  // --- rows on their way to the experts and back -----------------------------

  // Row -1 is nowhere: there a dropped choice's row goes to and comes from.

  // Sorts the choices by (expert, token): choice t K + k stands in row
  // row_of_choice[t, k], or in -1 where expert_ids is -1, and choice_of_row is
  // the inverse; token_of_row[n] = choice_of_row[n] / K. counts[e], int64, =
  // choices of expert e; N, their sum, is at most T K. The tensors of rows have
  // room for T K: those beyond N are -1.
  virtual void SortChoices(Tensor choice_of_row_N, Tensor token_of_row_N,
                           Tensor row_of_choice_TK, Tensor counts_E,
                           const Tensor& expert_ids_TK) = 0;

  // Rows arrive by source rank, and from each source by expert; counts[p, e] of
  // them. arrival_of_row[r] = where the r-th row in the order (expert, source)
  // arrived; row_of_arrival is the inverse. int32; e local experts.
  virtual void OrderArrivals(Tensor arrival_of_row_R, Tensor row_of_arrival_R,
                             absl::Span<const int64_t> counts_Pe,
                             int64_t num_local_experts) = 0;

  virtual void ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor& expert_ids_TK,
                              const Tensor& row_of_choice_TK,
                              const ChunkOptions& options) = 0;

  // y[n] = x[index[n]], or 0 where index is -1; any dtype, int32 index.
  virtual void GatherRows(Tensor y_ND, const Tensor& x_TD,
                          const Tensor& index_N) = 0;

  // y[t] (+)= sum_k x[index[t, k]], k in order, in float32, where index is not
  // -1. x compute; y compute or float32.
  virtual void SumRows(Tensor y_TD, const Tensor& x_ND, const Tensor& index_TK,
                       bool accumulate) = 0;

  // h = weight silu(g) u with gate_up = [g | u] (Shazeer, "GLU variants improve
  // transformer", 2020). weight_R float32, null: 1.
  virtual void SwiGluForward(Tensor h_RF, const Tensor& gate_up_R2F,
                             const Tensor& weight_R) = 0;

  // d_weight (null: not wanted) = sum_F d_h silu(g) u; h is the forward's once
  // more, to the bit. d_gate_up may be gate_up itself, h may be d_h.
  virtual void SwiGluBackward(Tensor d_gate_up_R2F, Tensor d_weight_R,
                              Tensor h_RF, const Tensor& d_h_RF,
                              const Tensor& gate_up_R2F,
                              const Tensor& weight_R) = 0;

  // --- elementwise -----------------------------------------------------------

  // y = x, between float32 and bfloat16, or a copy.
  virtual void Convert(Tensor y, const Tensor& x) = 0;
  // y += x, float32.
  virtual void Add(Tensor y, const Tensor& x) = 0;
  // All bytes zero.
  virtual void SetZero(Tensor x) = 0;
  // sum = sum of x^2 of float32 elements, float64, in an order fixed by the
  // size.
  virtual void SumOfSquares(Tensor sum_1, const Tensor& x) = 0;
  // Index of the first element that is NaN or infinite, or -1. Waits for the
  // device: for failures only.
  virtual int64_t FirstNonFinite(const Tensor& x) = 0;

  // Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, in
  // one pass: g = gradient gradient_scale; m, v moving means of g, g^2; w -= lr
  // (m' / (sqrt(v') + epsilon) + weight_decay w) as torch.optim.AdamW orders it
  // (decay first). weights_copy = w, bfloat16 (null: none).
  virtual void AdamW(Tensor weights, Tensor m, Tensor v, Tensor weights_copy,
                     const Tensor& gradient, const AdamWOptions& options) = 0;

 private:
  friend class ProgressScope;
  virtual void PushProgress(std::function<void()> progress) = 0;
  virtual void PopProgress() = 0;
};

// `threads` >= 1: OpenMP threads of this rank.
std::unique_ptr<Kernels> MakeCpuKernels(int threads,
                                        DeviceContext& context = CpuContext());

// For its lifetime `progress` is called between the tiles of long products, on
// the calling thread, so that messages move while the processor computes. Where
// several live, all are called; the last one made ends first.
class ProgressScope {
 public:
  ProgressScope(Kernels& kernels, std::function<void()> progress)
      : kernels_(kernels) {
    kernels_.PushProgress(std::move(progress));
  }
  ~ProgressScope() { kernels_.PopProgress(); }
  ProgressScope(const ProgressScope&) = delete;
  ProgressScope& operator=(const ProgressScope&) = delete;

 private:
  Kernels& kernels_;
};

}  // namespace moe

#endif  // MOE_KERNELS_H_
