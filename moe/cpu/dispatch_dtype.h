#ifndef MOE_CPU_DISPATCH_DTYPE_H_
#define MOE_CPU_DISPATCH_DTYPE_H_

#include "comm/base/check.h"
#include "comm/base/dtype.h"

namespace moe::cpu {

// Calls body.operator()<T>() with the C++ type of a compute dtype.
template <typename Body>
void DispatchDType(DType dtype, const Body& body) {
  if (dtype == DType::kBFloat16) return body.template operator()<BFloat16>();
  CHECK(dtype == DType::kFloat32);
  body.template operator()<float>();
}

}  // namespace moe::cpu

#endif  // MOE_CPU_DISPATCH_DTYPE_H_
