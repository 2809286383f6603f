#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/instructions.h"
#include "moe/cpu/swiglu_bfloat16.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: R rows at the experts, F expert hidden width. A row of gate_up is
// [gate | up].
//
// Memory traffic: as swiglu_bfloat16.cc says, which does what follows for
// bfloat16 where the processor has instructions for it.

namespace moe::cpu {
namespace {

// Rows that a thread is worth waking for.
int64_t Grain(int64_t F) { return std::max<int64_t>(1, 8192 / F); }

template <typename T>
void ForwardRow(T* h_F, const SwiGluRow<T>& row) {
  const T* gate_F = row.gate_up_2F;
  const T* up_F = gate_F + row.F;
  ForEachVector(row.F, [&](int64_t i, int64_t lanes) {
    __builtin_prefetch(row.next_2F + 2 * i);
    const Float8 gate = Load(gate_F + i, lanes);
    const Float8 up = Load(up_F + i, lanes);
    Store(h_F + i, gate * Sigmoid(gate) * (up * row.weight), lanes);
  });
}

// Returns d_weight: sum of d_h silu(gate) up.
template <typename T>
float BackwardRow(T* d_gate_up_2F, T* h_F, const T* d_h_F,
                  const SwiGluRow<T>& row) {
  const T* gate_F = row.gate_up_2F;
  const T* up_F = gate_F + row.F;
  T* d_gate_F = d_gate_up_2F;
  T* d_up_F = d_gate_F + row.F;
  Float8 d_weight8 = {};
  ForEachVector(row.F, [&](int64_t i, int64_t lanes) {
    __builtin_prefetch(row.next_2F + 2 * i);
    const Float8 gate = Load(gate_F + i, lanes);
    const Float8 up = Load(up_F + i, lanes);
    const Float8 d_h = Load(d_h_F + i, lanes);
    const Float8 sigmoid = Sigmoid(gate);
    const Float8 silu = gate * sigmoid;
    const Float8 d_h_up = d_h * up;
    d_weight8 += d_h_up * silu;
    // silu'(g) = s + g s (1 - s) with s = sigmoid(g).
    Store(d_gate_F + i,
          d_h_up * row.weight * (sigmoid + silu * (1.0f - sigmoid)), lanes);
    Store(d_up_F + i, d_h * row.weight * silu, lanes);
    Store(h_F + i, silu * (up * row.weight), lanes);
  });
  return Sum(d_weight8);
}

// What a row goes through.
template <typename T>
struct RowKernels {
  void (*forward)(T* h_F, const SwiGluRow<T>& row) = ForwardRow<T>;
  float (*backward)(T* d_gate_up_2F, T* h_F, const T* d_h_F,
                    const SwiGluRow<T>& row) = BackwardRow<T>;
};

template <typename T>
RowKernels<T> ChooseRowKernels() {
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (HasBFloat16Instructions())
      return {SwiGluForwardBFloat16, SwiGluBackwardBFloat16};
  }
  return {};
}

// body(r, row) for rows [begin, end).
template <typename T, typename Body>
void ForEachRow(int64_t begin, int64_t end, const Tensor& gate_up_R2F,
                const Tensor& weight_R, const Body& body) {
  const T* gate_up = gate_up_R2F.data<T>();
  const float* weight = weight_R.is_null() ? nullptr : weight_R.data<float>();
  const int64_t width = gate_up_R2F.dim(1);
  for (int64_t r = begin; r < end; ++r) {
    const T* row = gate_up + r * width;
    body(r, SwiGluRow<T>{.gate_up_2F = row,
                         .next_2F = r + 1 < end ? row + width : row,
                         .weight = weight == nullptr ? 1 : weight[r],
                         .F = width / 2});
  }
}

}  // namespace

void CpuKernels::SwiGluForward(Tensor h_RF, const Tensor& gate_up_R2F,
                               const Tensor& weight_R) {
  if (h_RF.size() == 0) return;
  const int64_t F = h_RF.dim(1);
  DispatchDType(h_RF.dtype(), [&]<typename T>() {
    T* h = h_RF.data<T>();
    const RowKernels<T> kernels = ChooseRowKernels<T>();
    ParallelFor(*this, h_RF.dim(0), Grain(F), [&](int64_t begin, int64_t end) {
      ForEachRow<T>(begin, end, gate_up_R2F, weight_R,
                    [&](int64_t r, const SwiGluRow<T>& row) {
                      kernels.forward(h + r * F, row);
                    });
    });
  });
}

void CpuKernels::SwiGluBackward(Tensor d_gate_up_R2F, Tensor d_weight_R,
                                Tensor h_RF, const Tensor& d_h_RF,
                                const Tensor& gate_up_R2F,
                                const Tensor& weight_R) {
  if (d_h_RF.size() == 0) return;
  const int64_t F = d_h_RF.dim(1);
  float* d_weight = d_weight_R.is_null() ? nullptr : d_weight_R.data<float>();
  DispatchDType(d_h_RF.dtype(), [&]<typename T>() {
    const T* d_h = d_h_RF.data<T>();
    T* d_gate_up = d_gate_up_R2F.data<T>();
    T* h = h_RF.data<T>();
    const RowKernels<T> kernels = ChooseRowKernels<T>();
    const auto row_backward = [&](int64_t r, const SwiGluRow<T>& row) {
      const float sum =
          kernels.backward(d_gate_up + 2 * r * F, h + r * F, d_h + r * F, row);
      if (d_weight != nullptr) d_weight[r] = sum;
    };
    ParallelFor(
        *this, d_h_RF.dim(0), Grain(F), [&](int64_t begin, int64_t end) {
          ForEachRow<T>(begin, end, gate_up_R2F, weight_R, row_backward);
        });
  });
}

}  // namespace moe::cpu
