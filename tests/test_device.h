#ifndef TESTS_TEST_DEVICE_H_
#define TESTS_TEST_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "comm/base/check.h"
#include "comm/device_context.h"
#include "comm/process_groups.h"
#include "moe/kernels.h"
#include "moe/tensor.h"

namespace moe {

// The device that a test runs on: the processor, or with MOE_TEST_GUARDED in
// the environment memory that host code cannot touch (guarded_context.h). A
// suite that takes all of its memory, kernels and groups from here runs on
// both.
DeviceContext& TestContext();
std::unique_ptr<Kernels> TestKernels(int threads);
// Gives the groups device groups, if the device wants others than the host.
void UseTestDevice(ProcessGroups& groups);

// Elements of a tensor on that device, on the host.
template <typename T>
std::vector<T> HostValues(const Tensor& x) {
  CHECK(DTypeOf<T>() == x.dtype());
  std::vector<T> values(static_cast<size_t>(x.size()));
  TestContext().Download(values.data(), x.raw(), x.size() * SizeOf(x.dtype()));
  CHECK(TestContext().Synchronize().ok());
  return values;
}
template <typename T>
void SetHostValues(const Tensor& x, const std::vector<T>& values) {
  CHECK(DTypeOf<T>() == x.dtype());
  CHECK(static_cast<int64_t>(values.size()) == x.size());
  TestContext().Upload(x.raw(), values.data(), x.size() * SizeOf(x.dtype()));
}

// The bits of all elements, of any dtype.
std::string HostBytes(const Tensor& x);

// Of float32 or bfloat16.
std::vector<double> Elements(const Tensor& x);
void SetElements(const Tensor& x, const std::vector<double>& values);
float GetElement(const Tensor& x, int64_t index);
void SetElement(const Tensor& x, int64_t index, float value);

}  // namespace moe

#endif  // TESTS_TEST_DEVICE_H_
