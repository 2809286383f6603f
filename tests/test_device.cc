#include "tests/test_device.h"

#include <cstdlib>

#include "comm/base/dtype.h"
#include "tests/guarded_context.h"
#include "tests/guarded_group.h"
#include "tests/guarded_kernels.h"

namespace moe {
namespace {

bool IsGuarded() { return std::getenv("MOE_TEST_GUARDED") != nullptr; }

Tensor Element(const Tensor& x, int64_t index) {
  return x.Reshape({x.size()}).Rows(index, 1);
}

template <typename T>
std::vector<double> Widen(const Tensor& x) {
  std::vector<double> values;
  for (T value : HostValues<T>(x)) values.push_back(ToFloat(value));
  return values;
}

template <typename T>
void Round(const Tensor& x, const std::vector<double>& values) {
  std::vector<T> rounded;
  for (double value : values)
    rounded.push_back(FromFloat<T>(static_cast<float>(value)));
  SetHostValues(x, rounded);
}

}  // namespace

DeviceContext& TestContext() {
  return IsGuarded() ? static_cast<DeviceContext&>(GuardedContext::Get())
                     : CpuContext();
}

std::unique_ptr<Kernels> TestKernels(int threads) {
  return IsGuarded() ? MakeGuardedKernels(threads, GuardedContext::Get())
                     : MakeCpuKernels(threads);
}

void UseTestDevice(ProcessGroups& groups) {
  if (IsGuarded()) GuardDeviceGroups(groups, GuardedContext::Get());
}

std::string HostBytes(const Tensor& x) {
  std::string bytes(static_cast<size_t>(x.size() * SizeOf(x.dtype())), '\0');
  TestContext().Download(bytes.data(), x.raw(),
                         static_cast<int64_t>(bytes.size()));
  CHECK(TestContext().Synchronize().ok());
  return bytes;
}

std::vector<double> Elements(const Tensor& x) {
  return x.dtype() == DType::kFloat32 ? Widen<float>(x) : Widen<BFloat16>(x);
}

void SetElements(const Tensor& x, const std::vector<double>& values) {
  if (x.dtype() == DType::kFloat32)
    Round<float>(x, values);
  else
    Round<BFloat16>(x, values);
}

float GetElement(const Tensor& x, int64_t index) {
  return static_cast<float>(Elements(Element(x, index))[0]);
}

void SetElement(const Tensor& x, int64_t index, float value) {
  SetElements(Element(x, index), {value});
}

}  // namespace moe
