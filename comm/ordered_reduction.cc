#include "comm/ordered_reduction.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "comm/base/check.h"

namespace moe {
namespace {

template <typename Accumulator, typename T>
Accumulator Widen(T x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return ToFloat(x);
  } else {
    return x;
  }
}

template <typename Out, typename Accumulator>
Out Narrow(Accumulator x) {
  if constexpr (std::is_same_v<Out, BFloat16>) {
    return ToBFloat16(x);
  } else {
    return x;
  }
}

// out[i] = left[i] op right[i], each of its own type, computed in Accumulator.
// `out` may be `left` or `right`.
template <typename Accumulator, typename Out, typename Left, typename Right>
void Combine(ReduceOp op, int64_t count, const Left* left, const Right* right,
             Out* out) {
  if (op == ReduceOp::kSum) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = Narrow<Out>(Widen<Accumulator>(left[i]) +
                           Widen<Accumulator>(right[i]));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto a = Widen<Accumulator>(left[i]);
    const auto b = Widen<Accumulator>(right[i]);
    // b != b: a NaN wins. A NaN in `a` stays, as no comparison holds.
    out[i] = Narrow<Out>(a < b || b != b ? b : a);
  }
}

}  // namespace

OrderedReduction::OrderedReduction(Arguments arguments)
    : arguments_(std::move(arguments)) {
  const MemoryView& output = arguments_.output;
  const void* only = arguments_.contributions[0];
  // The contributions of a group of one are the result.
  if (arguments_.contributions.size() == 1 && output.count > 0 &&
      only != output.data)
    std::memcpy(output.data, only,
                static_cast<size_t>(output.count * SizeOf(output.dtype)));
}

void OrderedReduction::Add() {
  CHECK(!done());
  // The first is read together with the second.
  if (next_ > 0) {
    switch (arguments_.output.dtype) {
      case DType::kFloat32:
        AddTyped<float, float>();
        break;
      case DType::kFloat64:
        AddTyped<double, double>();
        break;
      case DType::kBFloat16:
        AddTyped<BFloat16, float>();
        break;
      case DType::kInt32:
        AddTyped<int32_t, int32_t>();
        break;
      case DType::kInt64:
        AddTyped<int64_t, int64_t>();
        break;
    }
  }
  ++next_;
}

template <typename T, typename Accumulator>
void OrderedReduction::AddTyped() {
  constexpr bool kIsWidened = !std::is_same_v<T, Accumulator>;
  const auto at = [this](int index) {
    return static_cast<const T*>(
        arguments_.contributions[static_cast<size_t>(index)]);
  };
  const ReduceOp op = arguments_.op;
  const int64_t count = arguments_.output.count;
  const bool is_last =
      next_ + 1 == static_cast<int>(arguments_.contributions.size());
  auto* output = static_cast<T*>(arguments_.output.data);
  auto* partial = static_cast<Accumulator*>(arguments_.partial);

  if constexpr (kIsWidened) {
    // Partial sums are wider than the output: only the last step writes there.
    if (next_ == 1 && is_last) {
      Combine<Accumulator>(op, count, at(0), at(1), output);
    } else if (next_ == 1) {
      Combine<Accumulator>(op, count, at(0), at(1), partial);
    } else if (is_last) {
      Combine<Accumulator>(op, count, partial, at(next_), output);
    } else {
      Combine<Accumulator>(op, count, partial, at(next_), partial);
    }
  } else {
    // The output, which may be this rank's own contribution, is written to
    // from the step on that reads it; before that, sums are kept in `partial`.
    const auto target = [&](int index) {
      return index < arguments_.own_index ? partial : output;
    };
    const T* left = next_ == 1 ? at(0) : target(next_ - 1);
    Combine<Accumulator>(op, count, left, at(next_), target(next_));
  }
}

}  // namespace moe
