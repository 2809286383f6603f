#ifndef TESTS_MOE_LINEAR_REFERENCE_H_
#define TESTS_MOE_LINEAR_REFERENCE_H_

// The three products of a linear map in double, by their definition, and what
// the tests of single and grouped maps share.

#include <cstdint>
#include <vector>

#include "tests/moe/kernel_test_util.h"

namespace moe {

// One expert's part: rows [begin, end) of x [R, I] and y [R, O], and the
// matrix of index `expert` in w [e, O, I].
struct LinearPart {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t expert = 0;
  int64_t outputs = 0;
  int64_t inputs = 0;

  size_t X(int64_t row, int64_t i) const {
    return static_cast<size_t>(row * inputs + i);
  }
  size_t W(int64_t o, int64_t i) const {
    return static_cast<size_t>((expert * outputs + o) * inputs + i);
  }
  size_t Y(int64_t row, int64_t o) const {
    return static_cast<size_t>(row * outputs + o);
  }
};

// Calls body(row, o, i) for every product of the part.
template <typename Body>
void ForEachProduct(const LinearPart& part, const Body& body) {
  for (int64_t row = part.begin; row < part.end; ++row) {
    for (int64_t o = 0; o < part.outputs; ++o) {
      for (int64_t i = 0; i < part.inputs; ++i) body(row, o, i);
    }
  }
}

inline void AddForward(std::vector<double>& y, const std::vector<double>& x,
                       const std::vector<double>& w, const LinearPart& part) {
  ForEachProduct(part, [&](int64_t row, int64_t o, int64_t i) {
    y[part.Y(row, o)] += x[part.X(row, i)] * w[part.W(o, i)];
  });
}

inline void AddInputGradient(std::vector<double>& d_x,
                             const std::vector<double>& d_y,
                             const std::vector<double>& w,
                             const LinearPart& part) {
  ForEachProduct(part, [&](int64_t row, int64_t o, int64_t i) {
    d_x[part.X(row, i)] += d_y[part.Y(row, o)] * w[part.W(o, i)];
  });
}

inline void AddWeightGradient(std::vector<double>& d_w,
                              const std::vector<double>& d_y,
                              const std::vector<double>& x,
                              const LinearPart& part) {
  ForEachProduct(part, [&](int64_t row, int64_t o, int64_t i) {
    d_w[part.W(o, i)] += d_y[part.Y(row, o)] * x[part.X(row, i)];
  });
}

}  // namespace moe

#endif  // TESTS_MOE_LINEAR_REFERENCE_H_
