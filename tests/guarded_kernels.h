#ifndef TESTS_GUARDED_KERNELS_H_
#define TESTS_GUARDED_KERNELS_H_

#include <memory>

#include "moe/kernels.h"
#include "tests/guarded_context.h"

namespace moe {

// The processor's kernels on memory of the context, which is closed before and
// after each of them; with one thread also while they call back.
std::unique_ptr<Kernels> MakeGuardedKernels(int threads,
                                            GuardedContext& context);

}  // namespace moe

#endif  // TESTS_GUARDED_KERNELS_H_
