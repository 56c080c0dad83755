use drystone_storage::*;
use bytes::Bytes;
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let dir = tempfile::tempdir_in("/work/main/target/tmp").unwrap();
    let area = std::sync::Arc::new(FsArea::open(dir.path().to_owned()).unwrap());
    for n in [1usize, 5, 20, 100] {
        let t = Instant::now();
        let rounds = 40;
        for r in 0..rounds {
            let objs: Vec<_> = (0..n).map(|i| NewObject { key: Key::new(format!("o/{n}-{r}-{i}")).unwrap(), body: Body::Bytes(Bytes::from(vec![1u8; 2000])), meta: Meta::PRIVATE }).collect();
            for o in area.put_round(&objs).await { o.unwrap(); }
        }
        println!("put_round n={n}: {:?}/round {:?}/obj", t.elapsed() / rounds, t.elapsed() / rounds / n as u32);
    }
    for n in [1usize, 5, 20, 100] {
        let t = Instant::now();
        let rounds = 40;
        let mut tags: Vec<Option<Tag>> = vec![None; n];
        for r in 0..rounds {
            let swaps: Vec<_> = (0..n).map(|i| (Key::new(format!("idx{n}/{}/{i}", i % 50)).unwrap(), tags[i].clone(), Bytes::from(format!("{r} {i}")), Meta::PRIVATE)).collect();
            for (i, o) in area.replace_round(swaps).await.into_iter().enumerate() { match o.unwrap() { Replace::Replaced(t) => tags[i] = Some(t), o => panic!("{o:?}") } }
        }
        println!("replace_round n={n}: {:?}/round {:?}/swap", t.elapsed() / rounds, t.elapsed() / rounds / n as u32);
    }
    let t = Instant::now();
    let mut hs = vec![];
    for c in 0..16 { let area = area.clone(); hs.push(tokio::spawn(async move { for r in 0..50 {
        let objs: Vec<_> = (0..4).map(|i| NewObject { key: Key::new(format!("p/{c}-{r}-{i}")).unwrap(), body: Body::Bytes(Bytes::from(vec![1u8; 2000])), meta: Meta::PRIVATE }).collect();
        for o in area.put_round(&objs).await { o.unwrap(); } } })); }
    for h in hs { h.await.unwrap(); }
    println!("16 tasks x 50 rounds of 4: {:.0} rounds/s", 800.0 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut after = None; let mut k = 0; loop { let p = area.list("", after.as_deref()).await.unwrap(); k += p.keys.len(); match p.next { Some(x) => after = Some(x), None => break } }
    println!("list {k}: {:?}", t.elapsed());
}
