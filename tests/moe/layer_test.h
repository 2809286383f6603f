#ifndef TESTS_MOE_LAYER_TEST_H_
#define TESTS_MOE_LAYER_TEST_H_

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "moe/layers/layer_context.h"
#include "tests/moe/reference_ops.h"
#include "tests/test_device.h"

namespace moe {

// What a layer works with, and tensors made from plain numbers.
class LayerTest : public testing::Test {
 protected:
  explicit LayerTest(DType compute_dtype = DType::kFloat32)
      : context_{*kernels_, saved_, scratch_, compute_dtype} {}

  Tensor Make(std::initializer_list<int64_t> shape,
              DType dtype = DType::kFloat32) {
    Tensor x = memory_.Allocate(shape, dtype).value();
    kernels_->SetZero(x);
    return x;
  }

  // Small whole numbers, exact in every dtype and in every sum of a few.
  Tensor MakeNumbers(std::initializer_list<int64_t> shape, int seed,
                     DType dtype = DType::kFloat32) {
    Tensor x = Make(shape, dtype);
    reference::Vector values;
    for (int64_t i = 0; i < x.size(); ++i)
      values.push_back(
          static_cast<double>((i * i * 7 + i * 3 + seed * 5) % 11 - 5));
    SetElements(x, values);
    return x;
  }

  static void Set(const Tensor& x, int64_t i, float value) {
    SetElement(x, i, value);
  }
  static float Get(const Tensor& x, int64_t i) { return GetElement(x, i); }
  static double Dot(const Tensor& a, const Tensor& b) {
    EXPECT_EQ(a.size(), b.size());
    const reference::Vector x = Values(a);
    const reference::Vector y = Values(b);
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
  }
  static reference::Vector Values(const Tensor& x) { return Elements(x); }
  static void ExpectNear(const Tensor& x, const reference::Vector& expected,
                         double bound) {
    const reference::Vector values = Values(x);
    ASSERT_EQ(values.size(), expected.size());
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(values[i], expected[i], bound) << i;
  }

  std::unique_ptr<Kernels> kernels_ = TestKernels(1);
  Arena memory_{kernels_->context()};  // of the test
  Arena saved_{kernels_->context()};
  Arena scratch_{kernels_->context()};
  LayerContext context_;
};

}  // namespace moe

#endif  // TESTS_MOE_LAYER_TEST_H_
