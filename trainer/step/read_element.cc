#include "trainer/step/read_element.h"

#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

template <typename T>
absl::StatusOr<float> Read(DeviceContext& context, const void* from) {
  T element = {};
  context.Download(&element, from, SizeOf(DTypeOf<T>()));
  RETURN_IF_ERROR(context.Synchronize());
  return ToFloat(element);
}

}  // namespace

absl::StatusOr<float> ReadElement(DeviceContext& context, const Tensor& tensor,
                                  int64_t index) {
  CHECK(index >= 0 && index < tensor.size());
  const ConstMemoryView element =
      ConstMemoryView(tensor.View()).Slice(index, 1);
  if (tensor.dtype() == DType::kBFloat16)
    return Read<BFloat16>(context, element.data);
  CHECK(tensor.dtype() == DType::kFloat32);
  return Read<float>(context, element.data);
}

}  // namespace moe
