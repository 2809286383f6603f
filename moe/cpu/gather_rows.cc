#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/kernels.h"

// Letters: T tokens, N rows, D elements of a row.
//
// Memory traffic: what is gathered is sorted by expert, and by token under each
// expert, so index_N is a few runs that rise with gaps. One run after the other
// would read all of x anew for each, in single rows, which the processor's own
// prefetching does not follow. Instead x is cut into blocks that fit the
// second-level cache; all runs take what they have in a block before any goes
// on to the next one, and meanwhile the next block is fetched as one stream. So
// x is read once, and y written once, in as many streams as there are runs.

namespace moe::cpu {
namespace {

constexpr int64_t kLine = 64;  // bytes

// Half of a second-level cache of 1 MiB: one block is copied from, one fetched.
constexpr int64_t kBlockBytes = 512 << 10;

// Rows below this are not worth any of it.
constexpr int64_t kShortRow = 256;  // bytes

// Runs that are taken together, at most.
constexpr int64_t kMaxRuns = 256;

struct Rows {
  char* y;
  const char* x;
  const int32_t* index_N;
  int64_t row_bytes;
};

// Rows [next, end) of y, whose indices do not fall where they are not -1.
struct Run {
  int64_t next;
  int64_t end;
};

struct Runs {
  std::array<Run, kMaxRuns> runs;
  int64_t size = 0;
  int64_t num_rows = 0;     // in all runs
  int64_t first_token = 0;  // of all runs
  int64_t last_token = 0;   // -1 where there is none
};

// The runs from row `begin` on, up to row `end`.
void FindRuns(const int32_t* index_N, int64_t begin, int64_t end, Runs& found) {
  found.size = 0;
  found.first_token = std::numeric_limits<int64_t>::max();
  found.last_token = -1;
  int64_t n = begin;
  while (n < end && found.size < kMaxRuns) {
    Run& run = found.runs[static_cast<size_t>(found.size++)];
    run.next = n;
    int64_t token = -1;
    for (; n < end && (index_N[n] < 0 || index_N[n] >= token); ++n) {
      if (index_N[n] < 0) continue;
      token = index_N[n];
      found.first_token = std::min(found.first_token, token);
    }
    run.end = n;
    found.last_token = std::max(found.last_token, token);
  }
  found.num_rows = n - begin;
}

void CopyRow(const Rows& rows, int64_t n) {
  char* to = rows.y + n * rows.row_bytes;
  const size_t num_bytes = static_cast<size_t>(rows.row_bytes);
  if (rows.index_N[n] < 0) {
    std::memset(to, 0, num_bytes);
  } else {
    std::memcpy(to, rows.x + rows.index_N[n] * rows.row_bytes, num_bytes);
  }
}

// The same, fetching row `fetched` of x line by line.
void CopyRowAndFetch(const Rows& rows, int64_t n, int64_t fetched) {
  if (rows.index_N[n] < 0) return CopyRow(rows, n);
  char* to = rows.y + n * rows.row_bytes;
  const char* from = rows.x + rows.index_N[n] * rows.row_bytes;
  const char* fetch = rows.x + fetched * rows.row_bytes;
  int64_t done = 0;
  for (; done + kLine <= rows.row_bytes; done += kLine) {
    __builtin_prefetch(fetch + done);
    std::memcpy(to + done, from + done, size_t{kLine});
  }
  std::memcpy(to + done, from + done,
              static_cast<size_t>(rows.row_bytes - done));
}

// Whether each row of x is wanted about once or more, and the runs do not have
// to be looked at more often than there are rows.
bool AreWorthBlocks(const Runs& found, int64_t block_tokens) {
  const int64_t span = found.last_token - found.first_token + 1;
  const int64_t blocks = CeilDiv(span, block_tokens);
  return found.num_rows >= span && found.num_rows >= 2 * found.size * blocks;
}

void CopyInBlocks(const Rows& rows, Runs& found, int64_t block_tokens) {
  for (int64_t begin = found.first_token; begin <= found.last_token;
       begin += block_tokens) {
    const int64_t end = begin + block_tokens;
    const int64_t last_fetched =
        std::min(end + block_tokens - 1, found.last_token);
    int64_t fetched = std::min(end, last_fetched);
    for (int64_t i = 0; i < found.size; ++i) {
      Run& run = found.runs[static_cast<size_t>(i)];
      for (; run.next < run.end && rows.index_N[run.next] < end; ++run.next) {
        CopyRowAndFetch(rows, run.next, fetched);
        if (fetched < last_fetched) ++fetched;
      }
    }
  }
}

void Gather(const Rows& rows, int64_t begin, int64_t end) {
  const int64_t block_tokens =
      std::max<int64_t>(kBlockBytes / rows.row_bytes, 1);
  Runs found;
  while (begin < end) {
    FindRuns(rows.index_N, begin, end, found);
    const int64_t next = begin + found.num_rows;
    if (found.last_token >= 0 && AreWorthBlocks(found, block_tokens)) {
      CopyInBlocks(rows, found, block_tokens);
    } else {
      for (int64_t n = begin; n < next; ++n) CopyRow(rows, n);
    }
    begin = next;
  }
}

}  // namespace

void CpuKernels::GatherRows(Tensor y_ND, const Tensor& x_TD,
                            const Tensor& index_N) {
  CHECK(y_ND.dtype() == x_TD.dtype());
  if (y_ND.size() == 0) return;
  const Rows rows{.y = static_cast<char*>(y_ND.raw()),
                  .x = static_cast<const char*>(x_TD.raw()),
                  .index_N = index_N.data<int32_t>(),
                  .row_bytes = y_ND.dim(1) * SizeOf(y_ND.dtype())};
  ParallelFor(*this, y_ND.dim(0), RowsForAThread(rows.row_bytes),
              [&](int64_t begin, int64_t end) {
                if (rows.row_bytes >= kShortRow)
                  return Gather(rows, begin, end);
                for (int64_t n = begin; n < end; ++n) CopyRow(rows, n);
              });
}

}  // namespace moe::cpu
