#ifndef TESTS_MPI_TEST_H_
#define TESTS_MPI_TEST_H_

#include <memory>

#include "comm/mpi/mpi_runtime.h"

namespace moe {

// The MPI of this test binary, started by its main: world() is 1 when no
// launcher started it.
//
// Under mpirun every rank runs every test, in the same order; main makes all
// ranks fail if one did. A test must take the same collectives on all ranks
// whatever it finds: prefer EXPECT to ASSERT between them.
MpiRuntime& TestRuntime();

// The same, for a test that ends MPI itself: nothing may come after it.
std::unique_ptr<MpiRuntime> TakeTestRuntime();

}  // namespace moe

#endif  // TESTS_MPI_TEST_H_
